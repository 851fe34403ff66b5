//! Components around core modules whose code is made by chance: valid, and senseless. Each is refused or survived.

use std::time::Duration;

use millstream_model::pipeline::Limit;
use millstream_platform::{Randomness, Seeded};
use millstream_plugins::Sandbox;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, InstructionSink, MemArg, Module, ValType,
};

use super::component::{DESCRIPTION_AT, EXPORTS, Guest, Signature, component, memory, types};
use super::{call, calls, calls_of_instance, check_valid, counting, limit, load_in};

/// Code by chance: every expression leaves a value of its type, so that all of it is valid.
struct Chance<'r, 'c> {
    random: &'r Seeded,
    code: InstructionSink<'c>,
    /// Types of the parameters, before which no other locals are.
    parameters: &'static [ValType],
}

impl Chance<'_, '_> {
    fn one_of(&self, count: u64) -> u64 {
        self.random.below(count)
    }

    fn number(&self) -> i32 {
        match self.one_of(4) {
            0 => self.one_of(16) as i32,
            1 => 0x1000 + 4 * self.one_of(64) as i32,
            2 => i32::MAX.wrapping_add(self.one_of(2) as i32),
            _ => self.random.next_u64() as i32,
        }
    }

    fn place(&self) -> MemArg {
        let offset = [0, 8, 0x1000, 0xFFFF_FFFF][self.one_of(4) as usize];
        MemArg { offset, align: 0, memory_index: 0 }
    }

    /// Leaves a number of 32 bits.
    fn int(&mut self, depth: u32) {
        let deeper = depth + 1;
        match if depth > 4 { self.one_of(2) } else { self.one_of(13) } {
            0 => {
                self.code.i32_const(self.number());
            }
            1 => {
                self.code.local_get(self.parameters.len() as u32);
            }
            2 => self.pair(deeper, |code| {
                code.i32_add();
            }),
            3 => self.pair(deeper, |code| {
                code.i32_div_s();
            }),
            4 => self.pair(deeper, |code| {
                code.i32_rem_u();
            }),
            5 => self.pair(deeper, |code| {
                code.i32_shl();
            }),
            6 => {
                self.int(deeper);
                let place = self.place();
                self.code.i32_load(place);
            }
            7 => {
                self.int(deeper);
                self.code.memory_grow(0);
            }
            8 => {
                self.long(deeper);
                self.code.i32_wrap_i64();
            }
            9 => {
                self.float(deeper);
                self.code.i32_trunc_f64_s();
            }
            10 => {
                self.int(deeper);
                self.code.if_(BlockType::Result(ValType::I32));
                self.int(deeper);
                self.code.else_();
                self.int(deeper);
                self.code.end();
            }
            11 => {
                self.code.call(2);
            }
            _ => {
                (0..4).for_each(|_| self.int(deeper));
                self.code.call(1);
            }
        }
    }

    fn pair(&mut self, depth: u32, operation: fn(&mut InstructionSink<'_>)) {
        self.int(depth);
        self.int(depth);
        operation(&mut self.code);
    }

    fn long(&mut self, depth: u32) {
        match if depth > 4 { 0 } else { self.one_of(4) } {
            0 => {
                self.code.i64_const(self.random.next_u64() as i64);
            }
            1 => {
                self.code.local_get(self.parameters.len() as u32 + 1);
            }
            2 => {
                self.int(depth + 1);
                self.code.i64_extend_i32_u();
            }
            _ => {
                self.int(depth + 1);
                let place = self.place();
                self.code.i64_load(place);
            }
        }
    }

    fn float(&mut self, depth: u32) {
        match if depth > 4 { 0 } else { self.one_of(3) } {
            0 => {
                self.code.f64_const(f64::from_bits(self.random.next_u64()).into());
            }
            1 => {
                self.code.local_get(self.parameters.len() as u32 + 2);
            }
            _ => {
                self.long(depth + 1);
                self.code.f64_convert_i64_s();
            }
        }
    }

    /// Leaves nothing.
    fn statement(&mut self, depth: u32) {
        let (deeper, local) = (depth + 1, self.parameters.len() as u32);
        match if depth > 3 { self.one_of(3) } else { self.one_of(11) } {
            0 => {
                self.int(deeper);
                self.code.local_set(local);
            }
            1 => {
                self.long(deeper);
                self.code.local_set(local + 1);
            }
            2 => {
                self.float(deeper);
                self.code.local_set(local + 2);
            }
            3 => {
                self.int(deeper);
                self.int(deeper);
                let place = self.place();
                self.code.i32_store(place);
            }
            4 => {
                self.code.loop_(BlockType::Empty);
                self.statement(deeper);
                self.int(deeper);
                self.code.br_if(0).end();
            }
            5 => {
                self.code.block(BlockType::Empty);
                self.statement(deeper);
                self.int(deeper);
                self.code.br_if(0);
                self.statement(deeper);
                self.code.end();
            }
            6 => {
                (0..3).for_each(|_| self.int(deeper));
                self.code.memory_fill(0);
            }
            7 => {
                (0..3).for_each(|_| self.int(deeper));
                self.code.memory_copy(0, 0);
            }
            8 => {
                self.int(deeper);
                self.int(deeper);
                self.long(deeper);
                self.code.call(0);
            }
            9 if self.one_of(8) == 0 => {
                self.code.unreachable();
            }
            _ => (0..3).for_each(|_| self.statement(deeper)),
        }
    }
}

fn parameters(signature: Signature) -> &'static [ValType] {
    use ValType::{I32, I64};
    match signature {
        Signature::Realloc => &[I32; 4],
        Signature::Call => &[I32, I64, I32, I32, I32, I32, I32, I32],
        Signature::Deed => &[I32],
        Signature::Add => &[I32, I32, I64],
        Signature::Describe | Signature::Start => &[],
    }
}

/// The code of an exported function. Its locals are a number of each type.
fn function(signature: Signature, random: &Seeded, statements: u64) -> Function {
    let mut function = Function::new([(1, ValType::I32), (1, ValType::I64), (1, ValType::F64)]);
    let mut chance = Chance { random, code: function.instructions(), parameters: parameters(signature) };
    (0..statements).for_each(|_| chance.statement(0));
    if !matches!(signature, Signature::Deed) {
        chance.int(1);
    }
    chance.code.end();
    function
}

/// A module of the shape that components are made around. Most describe themselves as they should, so that they are called.
fn module(random: &Seeded, guest: &Guest) -> Module {
    let mut module = Module::new();
    module.section(&types());
    let mut imports = ImportSection::new();
    imports.import("env", "memory", EntityType::Memory(memory(guest.pages)));
    imports.import("env", "add", EntityType::Function(Signature::Add as u32));
    module.section(&imports);
    let (mut functions, mut exports, mut code) =
        (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    let honest = !random.chance(1, 8);
    for (number, (name, signature)) in (1..).zip(EXPORTS) {
        functions.function(signature as u32);
        exports.export(name, ExportKind::Func, number);
        code.function(&match signature {
            Signature::Describe if honest => {
                let mut function = Function::new([]);
                function.instructions().i32_const(guest.description.1 as i32).end();
                function
            }
            Signature::Deed if honest && random.chance(3, 4) => {
                let mut function = Function::new([]);
                function.instructions().end();
                function
            }
            _ => function(signature, random, random.below(6)),
        });
    }
    module.section(&functions).section(&exports).section(&code);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(DESCRIPTION_AT as i32), guest.description.0.iter().copied());
    module.section(&data);
    module
}

#[tokio::test]
async fn components_made_by_chance_are_refused_or_survived() {
    let sandbox = Sandbox::new().unwrap();
    let short = Limit { time: Duration::from_millis(20), ..limit() };
    let well = load_in(&sandbox, &counting().component(), limit()).await.unwrap();
    let (mut loaded, mut answered) = (0, 0);
    let seeds = Seeded::seeds(0..150);
    let replayed = seeds.end - seeds.start == 1;
    for (round, seed) in (1..).zip(seeds) {
        println!("MILLSTREAM_SEED={seed}");
        let guest = counting();
        let component = component(module(&Seeded::new(seed), &guest).as_slice(), &guest);
        if let Ok(plugin) = load_in(&sandbox, &component, short).await {
            loaded += 1;
            for _ in 0..3 {
                if let Ok(rows) = call(&plugin, &calls()).await {
                    check_valid(&rows);
                    answered += 1;
                }
            }
        }
        assert_eq!(calls_of_instance(&well).await, round, "another plugin is well");
    }
    println!("{loaded} of them loaded, {answered} calls answered");
    assert!(replayed || loaded > 50, "{loaded} loaded: they are not what components are made around");
}
