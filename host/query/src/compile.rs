//! From relations to a program: which of them are stages, and their plans.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use crate::aggregation::partial_of;
use crate::batch::CurrentBatch;
use crate::input::Slot;
use crate::operator::OperatorInput;
use crate::origin::traced;
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
    let mut needed = needed(relations.definitions(), wanted);
    let numbered = trace(&mut needed);
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
    Ok(Program { inputs, numbered, stages, batch, stopwatch: Default::default() })
}

/// A relation that the wanted ones depend on, and how it is read.
struct Need {
    definition: Definition,
    wanted: bool,
    readers: usize,
    /// Whether its rows say where they come from.
    traced: bool,
    /// Its number, if it is an input whose rows do.
    number: Option<u16>,
}

impl Need {
    /// Whether it passes on what it knows of its rows' origins, or needs it for its own.
    fn traces(&self) -> bool {
        match &self.definition.meaning {
            Meaning::Call(call) => call.isolates() || (self.traced && call.is_by_row()),
            Meaning::Union => self.traced,
            Meaning::Input | Meaning::Sql(_) | Meaning::Operator(..) => false,
        }
    }

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
            let definition = definition.clone();
            needed.push(Need { definition, wanted, readers, traced: false, number: None });
        }
    }
    needed.reverse();
    needed
}

/// Says of which relations the rows' origins are wanted and known. Gives the inputs that they are of, by their numbers.
fn trace(needed: &mut [Need]) -> Vec<String> {
    // From the readers to what they read: whoever wants them.
    for index in (0..needed.len()).rev() {
        let name = needed[index].definition.name.clone();
        let reads = |need: &Need| need.definition.reads.contains(&name);
        needed[index].traced = needed[index + 1..].iter().any(|need| reads(need) && need.traces());
    }
    // And back: whoever knows them.
    let (mut numbered, mut known) = (Vec::new(), BTreeSet::new());
    for need in needed {
        let Definition { name, meaning, reads, .. } = &need.definition;
        need.number = u16::try_from(numbered.len()).ok().filter(|_| need.traced && need.is_input());
        let is_known = match meaning {
            Meaning::Input => need.number.is_some(),
            Meaning::Call(call) => call.is_by_row() && reads.iter().any(|read| known.contains(read)),
            Meaning::Union => reads.iter().any(|read| known.contains(read)),
            Meaning::Sql(_) | Meaning::Operator(..) => false,
        };
        need.traced &= is_known;
        need.number = need.number.filter(|_| need.traced);
        numbered.extend(need.number.map(|_| name.clone()));
        known.extend(need.traced.then(|| name.clone()));
    }
    numbered
}

/// The name by which a relation is read with its rows' origins.
fn traced_name(name: &str) -> String {
    format!("{name} (traced)")
}

/// The name of the slot that holds a relation. An input has one for what is given as well, under its own name.
fn held_name(need: &Need) -> String {
    format!("{} (held)", need.definition.name)
}

/// Plans stages for one number of partitions.
struct Compiler {
    catalog: Catalog,
    slots: HashMap<String, Slot>,
    /// By relation, the slots that it is read from.
    feeds: BTreeMap<String, BTreeSet<String>>,
    /// The relations that can be read with their rows' origins.
    traced: BTreeSet<String>,
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
        Ok(Self { catalog, slots: HashMap::new(), feeds: BTreeMap::new(), traced: BTreeSet::new() })
    }

    /// Reads from the same slots as what was compiled before.
    fn share_slots(&mut self, compiled: &Compiled) {
        self.slots = compiled.slots.clone();
    }

    async fn compile(mut self, needed: &[Need]) -> Result<Compiled, QueryError> {
        let mut stages = Vec::new();
        for (index, need) in needed.iter().enumerate() {
            let Definition { name, reads, .. } = &need.definition;
            let own_name = [name.clone()];
            let reads: &[String] = if need.is_input() { &own_name } else { reads };
            if need.is_input() {
                self.add_input(need)?;
                self.traced.extend(need.traced.then(|| name.clone()));
            }
            let feeds = reads.iter().filter_map(|read| self.feeds.get(read)).flatten().cloned();
            let feeds: BTreeSet<String> = feeds.collect();
            if need.is_stage() {
                let plan = self.physical(need, reads).await?;
                let table = need.operator().and_then(|operator| self.slot_of(operator.table()?));
                stages.push(CompiledStage { index, plan, reads: feeds, table });
                if need.is_held() {
                    self.add_held(need).await?;
                }
            } else if !need.is_input() {
                self.add_view(need, self.logical(need, reads).await?).await?;
                self.feeds.insert(name.clone(), feeds);
            }
            self.traced.extend(need.traced.then(|| name.clone()));
        }
        Ok(Compiled { stages, slots: self.slots })
    }

    /// Lets an input be read from its slot.
    fn add_input(&mut self, need: &Need) -> Result<(), QueryError> {
        let Definition { name, schema, .. } = &need.definition;
        let slot = self.slot(name, name.clone());
        match need.number {
            None => self.catalog.add_leaf(name, Arc::clone(schema), slot, None),
            Some(number) => {
                self.catalog.add_traced_input(&traced_name(name), schema, slot.clone(), number)?;
                self.catalog.add_leaf(name, Arc::clone(schema), slot, None)
            }
        }
    }

    /// Lets a relation that is held be read from where it is held, from here on.
    async fn add_held(&mut self, need: &Need) -> Result<(), QueryError> {
        let Definition { name, schema, .. } = &need.definition;
        let slot = self.slot(name, held_name(need));
        self.catalog.forget(name)?;
        let partitions = need.operator().and_then(|operator| operator.partitions());
        if !need.traced {
            return self.catalog.add_leaf(name, Arc::clone(schema), slot, partitions);
        }
        let leaf = traced_name(name);
        self.catalog.forget(&leaf)?;
        self.catalog.add_leaf(&leaf, traced(schema), slot, partitions)?;
        self.catalog.add_untraced(name, &leaf).await
    }

    /// Lets a relation be read as a part of its reader's plan.
    async fn add_view(&mut self, need: &Need, plan: LogicalPlan) -> Result<(), QueryError> {
        let name = &need.definition.name;
        if !need.traced {
            return self.catalog.add_view(name, plan);
        }
        self.catalog.add_view(&traced_name(name), plan)?;
        self.catalog.add_untraced(name, &traced_name(name)).await
    }

    /// The slot called `slot`, from which `name` is read from here on.
    fn slot(&mut self, name: &str, slot: String) -> Slot {
        self.feeds.insert(name.to_owned(), BTreeSet::from([slot.clone()]));
        self.slots.entry(slot).or_default().clone()
    }

    /// The slot that an input's rows are read from.
    fn slot_of(&self, input: &str) -> Option<String> {
        self.feeds.get(input)?.first().cloned()
    }

    /// The plan of a relation, whose rows say where they come from if they are to.
    async fn logical(&self, need: &Need, reads: &[String]) -> Result<LogicalPlan, QueryError> {
        let as_read = |read: &String| match self.traced.contains(read) && (need.traces() || need.is_input()) {
            true => traced_name(read),
            false => read.clone(),
        };
        let reads: Vec<String> = reads.iter().map(as_read).collect();
        match need.traced {
            true => self.catalog.plan_traced(&need.definition.meaning, &reads).await,
            false => self.catalog.plan(&need.definition.meaning, &reads).await,
        }
    }

    async fn physical(&self, need: &Need, reads: &[String]) -> Result<Plan, QueryError> {
        let logical = self.logical(need, reads).await?;
        match &need.definition.meaning {
            Meaning::Operator(_, OperatorInput::Partial(_)) => {
                let plan = self.catalog.physical_in_states(logical).await?;
                let physical = partial_of(&plan.physical).map_err(|e| QueryError::planning(&e))?;
                Ok(Plan { physical, ..plan })
            }
            _ => self.catalog.physical(logical).await,
        }
    }
}
