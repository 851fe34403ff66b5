//! From relations to a program: which of them are stages, and their plans.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::aggregation::partial_of;
use crate::batch::CurrentBatch;
use crate::input::Slot;
use crate::operator::OperatorInput;
use crate::relations::{Catalog, Definition, Meaning};
use crate::stage::{Plan, Stage};
use crate::{Operator, Program, QueryError, Relations};

/// Compiles what is needed for the relations `wanted`, to run in up to `partitions` partitions.
pub(crate) async fn compile(
    relations: &Relations,
    wanted: &[&str],
    partitions: usize,
) -> Result<Program, QueryError> {
    let batch = CurrentBatch::default();
    let needed = needed(relations.definitions(), wanted);
    let serial = Compiler::new(1, &batch)?.compile(&needed).await?;
    let mut parallel = Compiler::new(partitions, &batch)?;
    parallel.share_slots(&serial);
    let parallel = parallel.compile(&needed).await?;
    let stages = serial.stages.into_iter().zip(parallel.stages).map(|(one, all)| {
        let need = &needed[one.index];
        Arc::new(Stage {
            relation: need.definition.name.clone(),
            plans: [one.plan, all.plan],
            reads: one.reads.iter().filter_map(|slot| serial.slots.get(slot)).cloned().collect(),
            operator: need.operator().cloned(),
            table: one.table.and_then(|slot| serial.slots.get(&slot)).cloned(),
            slot: serial.slots.get(&held_name(need)).cloned(),
            wanted: need.wanted,
        })
    });
    let stages = stages.collect();
    let is_input = |name: &String| needed.iter().any(|n| n.is_input() && n.definition.name == *name);
    let inputs = serial.slots.iter().filter(|(name, _)| is_input(name));
    let inputs = inputs.map(|(name, slot)| (name.clone(), slot.clone())).collect();
    Ok(Program { inputs, stages, batch })
}

/// A relation that the wanted ones depend on, and how it is read.
struct Need {
    definition: Definition,
    wanted: bool,
    readers: usize,
}

impl Need {
    fn is_input(&self) -> bool {
        matches!(self.definition.meaning, Meaning::Input)
    }

    fn operator(&self) -> Option<&Arc<dyn Operator>> {
        match &self.definition.meaning {
            Meaning::Operator(operator, _) => Some(operator),
            _ => None,
        }
    }

    /// Whether it is computed for itself and held, rather than as part of its one reader.
    fn is_held(&self) -> bool {
        let is_shared = self.readers + usize::from(self.wanted) > 1;
        self.readers > 0 && (is_shared || self.operator().is_some())
    }

    fn is_stage(&self) -> bool {
        self.wanted || self.is_held()
    }
}

/// The definitions that `wanted` depends on, in their order.
fn needed(definitions: &[Definition], wanted: &[&str]) -> Vec<Need> {
    let mut needed: Vec<Need> = Vec::new();
    for definition in definitions.iter().rev() {
        let name = definition.name.as_str();
        let reads = |need: &Need| need.definition.reads.iter().filter(|read| *read == name).count();
        let readers = needed.iter().map(reads).sum();
        let wanted = wanted.contains(&name);
        if wanted || readers > 0 {
            needed.push(Need { definition: definition.clone(), wanted, readers });
        }
    }
    needed.reverse();
    needed
}

/// The name of the slot that holds a relation. An input has one for what is given as well, under its own name.
fn held_name(need: &Need) -> String {
    format!("{} (held)", need.definition.name)
}

/// Plans stages for one number of partitions.
struct Compiler {
    catalog: Catalog,
    slots: HashMap<String, Slot>,
    /// By relation, the slots that its rows come from.
    origins: BTreeMap<String, BTreeSet<String>>,
}

struct Compiled {
    stages: Vec<CompiledStage>,
    slots: HashMap<String, Slot>,
}

struct CompiledStage {
    index: usize,
    plan: Plan,
    /// The slots that the plan and the operator read.
    reads: BTreeSet<String>,
    /// The slot of the operator's table.
    table: Option<String>,
}

impl Compiler {
    fn new(partitions: usize, batch: &CurrentBatch) -> Result<Self, QueryError> {
        let catalog = Catalog::new(partitions, batch.clone())?;
        Ok(Self { catalog, slots: HashMap::new(), origins: BTreeMap::new() })
    }

    /// Reads from the same slots as what was compiled before.
    fn share_slots(&mut self, compiled: &Compiled) {
        self.slots = compiled.slots.clone();
    }

    async fn compile(mut self, needed: &[Need]) -> Result<Compiled, QueryError> {
        let mut stages = Vec::new();
        for (index, need) in needed.iter().enumerate() {
            let Definition { name, meaning, reads, schema } = &need.definition;
            let own_name = [name.clone()];
            let reads: &[String] = if need.is_input() { &own_name } else { reads };
            if need.is_input() {
                self.add_leaf(name, name.clone(), schema, None)?;
            }
            let origins = reads.iter().filter_map(|read| self.origins.get(read)).flatten().cloned();
            let origins: BTreeSet<String> = origins.collect();
            if need.is_stage() {
                let plan = self.physical(meaning, reads).await?;
                let table = need.operator().and_then(|operator| self.slot_of(operator.table()?));
                stages.push(CompiledStage { index, plan, reads: origins, table });
                if need.is_held() {
                    let partitions = need.operator().and_then(|operator| operator.partitions());
                    self.add_leaf(name, held_name(need), schema, partitions)?;
                }
            } else if !need.is_input() {
                self.catalog.add_view(name, self.catalog.plan(meaning, reads).await?)?;
                self.origins.insert(name.clone(), origins);
            }
        }
        Ok(Compiled { stages, slots: self.slots })
    }

    /// Lets `name` be read from the slot `slot` from here on.
    fn add_leaf(
        &mut self,
        name: &str,
        slot: String,
        schema: &SchemaRef,
        partitions: Option<usize>,
    ) -> Result<(), QueryError> {
        self.origins.insert(name.to_owned(), BTreeSet::from([slot.clone()]));
        let slot = self.slots.entry(slot).or_default().clone();
        self.catalog.forget(name)?;
        self.catalog.add_leaf(name, Arc::clone(schema), slot, partitions)
    }

    /// The slot that an input's rows are read from.
    fn slot_of(&self, input: &str) -> Option<String> {
        self.origins.get(input)?.first().cloned()
    }

    async fn physical(&self, meaning: &Meaning, reads: &[String]) -> Result<Plan, QueryError> {
        let logical = self.catalog.plan(meaning, reads).await?;
        match meaning {
            Meaning::Operator(_, OperatorInput::Partial(_)) => {
                let plan = self.catalog.physical_in_states(logical).await?;
                let physical = partial_of(&plan.physical).map_err(|e| QueryError::planning(&e))?;
                Ok(Plan { physical, ..plan })
            }
            _ => self.catalog.physical(logical).await,
        }
    }
}
