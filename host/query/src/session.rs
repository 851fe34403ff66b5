//! How DataFusion is set up: names as they are written, order kept, nothing that a repeated batch would answer differently.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::ScalarValue;
use datafusion::common::utils::take_function_args;
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::batch::CurrentBatch;
use crate::call::CallPlanner;
use crate::in_order::UnionsInOrder;

/// Memory that aggregations, joins and sorts of a session may hold before they spill to temporary files.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Answers that would differ when a batch is run again. Refused, so that a replay is exact.
const UNREPEATABLE: &[&str] = &["random", "rand", "uuid", "current_date", "today", "current_time"];

/// A session whose plans run in `partitions` partitions and whose `batch_time()` is that of `batch`.
pub(crate) fn session(partitions: usize, batch: &CurrentBatch) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(false)
        .with_round_robin_repartition(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.collect_spans = true;
    // A plan with dynamic filters cannot be run a second time.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;

    let mut rules = PhysicalOptimizer::new().rules;
    if partitions == 1 {
        // Before the rules that would bring partitions together in the order in which they are done.
        rules.insert(0, Arc::new(UnionsInOrder));
    }
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES_MAX, 1.0).build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .with_query_planner(Arc::new(Planner))
        .build();
    let context = SessionContext::new_with_state(state);
    for name in UNREPEATABLE {
        context.deregister_udf(name);
    }
    for name in ["batch_time", "now", "current_timestamp"] {
        context.register_udf(ScalarUDF::from(BatchTimeFunction::new(name, batch.clone())));
    }
    Ok(context)
}

#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(CallPlanner)])
            .create_physical_plan(plan, session)
            .await
    }
}

/// `batch_time()`, and the clock functions of SQL, which mean it.
///
/// Volatile, so that planning does not freeze the time of the first batch into the plan.
#[derive(Debug)]
struct BatchTimeFunction {
    name: &'static str,
    batch: CurrentBatch,
    signature: Signature,
}

impl BatchTimeFunction {
    fn new(name: &'static str, batch: CurrentBatch) -> Self {
        Self { name, batch, signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl PartialEq for BatchTimeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for BatchTimeFunction {}

impl Hash for BatchTimeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for BatchTimeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [] = take_function_args(self.name(), arguments.args)?;
        let micros = self.batch.time().as_ms().saturating_mul(1_000);
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(micros), None)))
    }
}
