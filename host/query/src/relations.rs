use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Extension, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{ObjectNamePart, visit_relations};
use millstream_model::pipeline::OnError;
use millstream_model::{Function, FunctionKind};

use crate::batch::CurrentBatch;
use crate::call::CallNode;
use crate::input::{InputTable, Slot};
use crate::operator::OperatorInput;
use crate::origin::refuse_own;
use crate::origin::{traced, traced_plan, untraced_plan};
use crate::session::session;
use crate::stage::Plan;
use crate::{Aggregation, Caller, Operator, QueryError};

/// The rule that makes two aggregates of one that counts distinct values.
const SPLITS_AGGREGATES: &str = "single_distinct_aggregation_to_group_by";

/// A call of a function over a relation, bound to its columns.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called. Its kind is one of map, flat-map, filter, transform.
    pub function: Arc<dyn Function>,
    /// For each input of the function, in order, the relation's column.
    pub columns: Vec<String>,
    /// Whether those columns stay in the result beside the function's output.
    pub keep_columns: bool,
    /// Who calls, and what happens to rows that the function fails on.
    pub caller: Arc<Caller>,
}

impl Call {
    /// Whether rows that the function fails on are to be found, one by one.
    pub(crate) fn isolates(&self) -> bool {
        self.is_by_row() && self.caller.on_error != OnError::Stop
    }

    /// Whether each row that it gives is of one that it takes.
    pub(crate) fn is_by_row(&self) -> bool {
        self.function.description().kind != FunctionKind::Transform
    }
}

/// The named relations of a pipeline, each defined over those before it, and planned as it is defined:
/// what is wrong with a definition is known at once.
pub struct Relations {
    definitions: Vec<Definition>,
    planned: Catalog,
}

/// A relation's name, meaning and columns.
#[derive(Clone)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) meaning: Meaning,
    /// The relations that must be computed before it: those it reads, of which one that is read twice stands here twice, and
    /// those that its operator follows.
    pub(crate) reads: Vec<String>,
    pub(crate) schema: SchemaRef,
}

#[derive(Clone)]
pub(crate) enum Meaning {
    Input,
    Sql(String),
    Call(Call),
    Union,
    Operator(Arc<dyn Operator>, OperatorInput),
}

impl Relations {
    /// None yet.
    pub fn new() -> Result<Self, QueryError> {
        let planned = Catalog::new(1, CurrentBatch::default())?;
        Ok(Self { definitions: Vec::new(), planned })
    }

    /// Defines an input: rows that are given anew for each batch.
    pub fn add_input(&mut self, name: &str, schema: SchemaRef) -> Result<(), QueryError> {
        refuse_own(&schema)?;
        self.planned.add_leaf(name, Arc::clone(&schema), Slot::default(), None)?;
        let name = name.to_owned();
        self.definitions.push(Definition { name, meaning: Meaning::Input, reads: Vec::new(), schema });
        Ok(())
    }

    /// Defines a relation by a query over relations defined before; gives its schema.
    pub async fn add_sql(&mut self, name: &str, sql: &str) -> Result<SchemaRef, QueryError> {
        let mut reads = sql_relations(sql)?;
        if repeats_a_part(&parse(sql)?)? {
            // The plan repeats whatever that part reads, which has to be computed once.
            reads.extend_from_within(..);
        }
        self.define(name, Meaning::Sql(sql.to_owned()), reads).await
    }

    /// Defines a relation by a call over one defined before; gives its schema. The caller has checked that the
    /// columns exist and that the function's types accept theirs.
    pub async fn add_call(&mut self, name: &str, from: &str, call: Call) -> Result<SchemaRef, QueryError> {
        self.define(name, Meaning::Call(call), vec![from.to_owned()]).await
    }

    /// Defines a relation of all rows of several with the same columns; gives its schema.
    pub async fn add_union(&mut self, name: &str, from: &[&str]) -> Result<SchemaRef, QueryError> {
        let reads = from.iter().map(|&name| name.to_owned()).collect();
        self.define(name, Meaning::Union, reads).await
    }

    /// Defines a relation that an operator computes. What it reads and follows, and its table if it has one, is defined before.
    pub async fn add_operator(
        &mut self,
        name: &str,
        input: OperatorInput,
        operator: Arc<dyn Operator>,
    ) -> Result<(), QueryError> {
        let mut reads = match &input {
            OperatorInput::Rows(from) => vec![from.clone()],
            OperatorInput::Partial(sql) => sql_relations(sql)?,
        };
        reads.extend(operator.table().map(str::to_owned));
        reads.extend(operator.follows());
        let schema = operator.schema();
        refuse_own(&schema)?;
        self.planned.add_leaf(name, Arc::clone(&schema), Slot::default(), operator.partitions())?;
        let (name, meaning) = (name.to_owned(), Meaning::Operator(operator, input));
        self.definitions.push(Definition { name, meaning, reads, schema });
        Ok(())
    }

    /// Plans an aggregate whose rows come in states: `sql` is its query over relations defined before.
    pub async fn aggregation(&self, sql: &str) -> Result<Aggregation, QueryError> {
        let logical = self.planned.plan(&Meaning::Sql(sql.to_owned()), &[]).await?;
        let plan = self.planned.physical_in_states(logical).await?;
        Aggregation::new(&plan, self.planned.batch.clone()).map_err(|e| QueryError::planning(&e))
    }

    /// The columns of a relation.
    pub fn schema(&self, name: &str) -> Option<SchemaRef> {
        let definition = self.definitions.iter().find(|definition| definition.name == name)?;
        Some(Arc::clone(&definition.schema))
    }

    /// In the order of their definition, so that each stands after all that it reads.
    pub(crate) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    async fn define(
        &mut self,
        name: &str,
        meaning: Meaning,
        reads: Vec<String>,
    ) -> Result<SchemaRef, QueryError> {
        let plan = self.planned.plan(&meaning, &reads).await?;
        let schema = Arc::clone(plan.schema().inner());
        refuse_own(&schema)?;
        self.planned.add_view(name, plan)?;
        let (name, given) = (name.to_owned(), Arc::clone(&schema));
        self.definitions.push(Definition { name, meaning, reads, schema });
        Ok(given)
    }
}

/// The relations that a query reads, each as often as it reads it, without those it defines itself.
/// Fails where the text is no single query.
pub fn sql_relations(sql: &str) -> Result<Vec<String>, QueryError> {
    let statement = parse(sql)?;
    let (tables, _) = resolve_table_references(&statement, false).map_err(|e| QueryError::planning(&e))?;
    Ok(readings(&statement, &tables))
}

/// Whether a query reads a part that it has itself named in its `WITH` more than once.
fn repeats_a_part(statement: &Statement) -> Result<bool, QueryError> {
    let (_, own) = resolve_table_references(statement, false).map_err(|e| QueryError::planning(&e))?;
    let mut read = readings(statement, &own);
    read.sort_unstable();
    Ok(read.windows(2).any(|pair| pair[0] == pair[1]))
}

/// The names among `tables` that a statement reads, each as often as it does. The resolver tells a query's own names
/// from those it takes from outside; the visitor sees each reading.
fn readings(statement: &Statement, tables: &[TableReference]) -> Vec<String> {
    let mut reads = Vec::new();
    if let Statement::Statement(statement) = statement {
        let visited: ControlFlow<()> = visit_relations(statement.as_ref(), |name| {
            let read = tables.iter().find(|table| name.0.last().is_some_and(|part| names(part, table)));
            reads.extend(read.map(|table| table.table().to_owned()));
            ControlFlow::Continue(())
        });
        debug_assert!(visited.is_continue(), "the visitor never stops");
    }
    reads
}

fn names(part: &ObjectNamePart, table: &TableReference) -> bool {
    part.as_ident().is_some_and(|ident| ident.value == table.table())
}

fn parse(sql: &str) -> Result<Statement, QueryError> {
    let refuse = |message: &str| QueryError::Sql { message: message.to_owned(), place: None };
    let mut statements = DFParser::parse_sql(sql).map_err(|e| QueryError::planning(&e))?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(refuse("the query is empty")),
        (Some(_), more) => Err(refuse(&format!("one query is expected, but there are {}", more + 1))),
    }
}

/// DataFusion's catalog of relations, by which names in queries find their plans.
pub(crate) struct Catalog {
    pub(crate) context: SessionContext,
    batch: CurrentBatch,
}

impl Catalog {
    pub(crate) fn new(partitions: usize, batch: CurrentBatch) -> Result<Self, QueryError> {
        let context = session(partitions, &batch).map_err(|e| QueryError::planning(&e))?;
        Ok(Self { context, batch })
    }

    /// A relation whose rows its slot holds.
    pub(crate) fn add_leaf(
        &self,
        name: &str,
        schema: SchemaRef,
        slot: Slot,
        partitions: Option<usize>,
    ) -> Result<(), QueryError> {
        let name = name.to_owned();
        self.register(&name.clone(), Arc::new(InputTable { name, schema, slot, partitions, number: None }))
    }

    /// An input with its number, whose rows, held by its slot, are to say where they come from.
    pub(crate) fn add_traced_input(
        &self,
        name: &str,
        schema: &SchemaRef,
        slot: Slot,
        number: u16,
    ) -> Result<(), QueryError> {
        let (name, schema, number) = (name.to_owned(), traced(schema), Some(number));
        self.register(&name.clone(), Arc::new(InputTable { name, schema, slot, partitions: None, number }))
    }

    /// Makes room for another relation of that name.
    pub(crate) fn forget(&self, name: &str) -> Result<(), QueryError> {
        let forgotten = self.context.deregister_table(TableReference::bare(name));
        forgotten.map(drop).map_err(|e| QueryError::planning(&e))
    }

    /// A relation that becomes part of the plans that read it.
    pub(crate) fn add_view(&self, name: &str, plan: LogicalPlan) -> Result<(), QueryError> {
        self.register(name, Arc::new(ViewTable::new(plan, None)))
    }

    /// Lets `name` be what `traced` is without its rows' origins.
    pub(crate) async fn add_untraced(&self, name: &str, traced: &str) -> Result<(), QueryError> {
        let plan = self.scan(&[traced.to_owned()]).await.and_then(untraced_plan);
        self.add_view(name, plan.map_err(|e| QueryError::planning(&e))?)
    }

    pub(crate) async fn plan(&self, meaning: &Meaning, reads: &[String]) -> Result<LogicalPlan, QueryError> {
        self.plan_as(meaning, reads, false).await
    }

    /// A plan of a relation whose rows say where they come from, as far as those of `reads` do.
    pub(crate) async fn plan_traced(
        &self,
        meaning: &Meaning,
        reads: &[String],
    ) -> Result<LogicalPlan, QueryError> {
        self.plan_as(meaning, reads, true).await
    }

    async fn plan_as(
        &self,
        meaning: &Meaning,
        reads: &[String],
        traced: bool,
    ) -> Result<LogicalPlan, QueryError> {
        let plan = match meaning {
            Meaning::Sql(sql) => self.plan_sql(sql).await,
            Meaning::Call(call) => self.plan_call(call, reads, traced).await,
            Meaning::Union => self.plan_union(reads, traced).await,
            Meaning::Operator(_, OperatorInput::Partial(sql)) => self.plan_sql(sql).await,
            Meaning::Operator(_, OperatorInput::Rows(from)) => self.scan(std::slice::from_ref(from)).await,
            Meaning::Input => self.scan(reads).await,
        };
        plan.map_err(|e| QueryError::planning(&e))
    }

    /// How a plan is run.
    pub(crate) async fn physical(&self, logical: LogicalPlan) -> Result<Plan, QueryError> {
        self.physical_by(&self.context.state(), logical).await
    }

    /// How a plan is run whose aggregate is to be taken apart, and so is to stay one.
    pub(crate) async fn physical_in_states(&self, logical: LogicalPlan) -> Result<Plan, QueryError> {
        let state = self.context.state();
        let rules = state.optimizers().iter().filter(|rule| rule.name() != SPLITS_AGGREGATES);
        let rules = rules.cloned().collect();
        let state = SessionStateBuilder::new_from_existing(state.clone()).with_optimizer_rules(rules).build();
        self.physical_by(&state, logical).await
    }

    async fn physical_by(&self, state: &SessionState, logical: LogicalPlan) -> Result<Plan, QueryError> {
        let physical = state.create_physical_plan(&logical).await;
        let physical = physical.map_err(|e| QueryError::planning(&e))?;
        Ok(Plan { physical, context: self.context.task_ctx() })
    }

    fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<(), QueryError> {
        let reference = TableReference::bare(name);
        self.context.register_table(reference, table).map_err(|e| QueryError::planning(&e))?;
        Ok(())
    }

    async fn plan_sql(&self, sql: &str) -> Result<LogicalPlan, DataFusionError> {
        let plan = self.context.state().create_logical_plan(sql).await?;
        let queries_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        queries_only.verify_plan(&plan)?;
        Ok(plan)
    }

    async fn plan_call(
        &self,
        call: &Call,
        reads: &[String],
        traced: bool,
    ) -> Result<LogicalPlan, DataFusionError> {
        let node = CallNode::new(call.clone(), self.scan(reads).await?, self.batch.clone(), traced)?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    async fn plan_union(&self, reads: &[String], traced: bool) -> Result<LogicalPlan, DataFusionError> {
        let Some((first, others)) = reads.split_first() else {
            return Err(DataFusionError::Plan("a union takes at least one stream".to_owned()));
        };
        let mut union = LogicalPlanBuilder::from(self.scan_as(first, traced).await?);
        for other in others {
            union = union.union(self.scan_as(other, traced).await?)?;
        }
        union.build()
    }

    async fn scan_as(&self, name: &String, traced: bool) -> Result<LogicalPlan, DataFusionError> {
        let plan = self.scan(std::slice::from_ref(name)).await?;
        if traced { traced_plan(plan) } else { Ok(plan) }
    }

    async fn scan(&self, reads: &[String]) -> Result<LogicalPlan, DataFusionError> {
        let [name] = reads else {
            return Err(DataFusionError::Internal("one stream is read here".to_owned()));
        };
        Ok(self.context.table(TableReference::bare(name.as_str())).await?.into_unoptimized_plan())
    }
}
