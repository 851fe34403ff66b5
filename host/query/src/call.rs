//! A call of a plugin's function as a node of a logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use millstream_model::FunctionKind;

use crate::Call;
use crate::batch::CurrentBatch;
use crate::call_exec::CallExec;
use crate::origin::{self, is_traced};

/// What the columns of a call are: first those that are carried along, then the function's own, and last where rows come
/// from, if they are to be `traced`.
///
/// `input` may lack columns that nothing needs, but never one that the function reads.
pub(crate) fn output_schema(call: &Call, input: &Schema, traced: bool) -> SchemaRef {
    let output = call.function.description().output.to_arrow();
    let carried = carried_columns(call, input).into_iter().map(|i| Arc::clone(&input.fields()[i]));
    let own = output.fields().iter().map(|field: &Arc<Field>| Arc::clone(field));
    let seen = match call.function.description().kind {
        FunctionKind::Filter => Schema::new(carried.collect::<Vec<_>>()),
        _ => Schema::new(carried.chain(own).collect::<Vec<_>>()),
    };
    if traced { origin::traced(&seen) } else { Arc::new(seen) }
}

/// The input's columns that the host carries along beside the function's output, without that of the rows' origins.
pub(crate) fn carried_columns(call: &Call, input: &Schema) -> Vec<usize> {
    let carried = |name: &String| match call.function.description().kind {
        FunctionKind::Filter => true,
        FunctionKind::Transform => false,
        _ => call.keep_columns || !call.columns.contains(name),
    };
    let seen = input.fields().len() - usize::from(is_traced(input));
    (0..seen).filter(|&i| carried(input.field(i).name())).collect()
}

/// The call over a plan. Two nodes are equal if they call the same function on the same columns of equal plans.
#[derive(Clone)]
pub(crate) struct CallNode {
    call: Call,
    input: LogicalPlan,
    schema: DFSchemaRef,
    batch: CurrentBatch,
    /// Whether its rows say where they come from.
    traced: bool,
}

impl CallNode {
    pub(crate) fn new(call: Call, input: LogicalPlan, batch: CurrentBatch, traced: bool) -> Result<Self> {
        let schema = output_schema(&call, input.schema().as_arrow(), traced);
        let schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
        Ok(Self { call, input, schema, batch, traced })
    }

    fn key(&self) -> (usize, &[String], (bool, bool), &str, &LogicalPlan) {
        let function = Arc::as_ptr(&self.call.function).cast::<()>() as usize;
        let kept = (self.call.keep_columns, self.traced);
        (function, &self.call.columns, kept, &self.call.caller.stream, &self.input)
    }
}

impl fmt::Debug for CallNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        UserDefinedLogicalNodeCore::fmt_for_explain(self, f)
    }
}

impl PartialEq for CallNode {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for CallNode {}

impl Hash for CallNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialOrd for CallNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.key().partial_cmp(&other.key())
    }
}

impl UserDefinedLogicalNodeCore for CallNode {
    fn name(&self) -> &str {
        "Call"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let description = self.call.function.description();
        write!(f, "Call: {} {}({})", description.kind, description.name, self.call.columns.join(", "))
    }

    fn with_exprs_and_inputs(&self, _expressions: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs)
            .map_err(|_| DataFusionError::Internal("a call takes one input".to_owned()))?;
        Self::new(self.call.clone(), input, self.batch.clone(), self.traced)
    }

    /// What the function reads and what is carried into a column that somebody wants.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema().as_arrow();
        let carried = carried_columns(&self.call, input);
        let wanted = output_columns.iter().filter_map(|&column| carried.get(column).copied());
        let read = self.call.columns.iter().filter_map(|name| input.index_of(name).ok());
        let origin = is_traced(input).then(|| input.fields().len() - 1);
        let mut necessary: Vec<usize> = wanted.chain(read).chain(origin).collect();
        necessary.sort_unstable();
        necessary.dedup();
        Some(vec![necessary])
    }
}

/// Turns [`CallNode`]s into [`CallExec`]s.
pub(crate) struct CallPlanner;

#[async_trait]
impl ExtensionPlanner for CallPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<CallNode>(), physical_inputs) else {
            return Ok(None);
        };
        let exec = CallExec::new(node.call.clone(), Arc::clone(input), node.batch.clone(), node.traced)?;
        Ok(Some(Arc::new(exec)))
    }
}
