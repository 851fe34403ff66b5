//! Components made byte by byte: no toolchain makes such, but anybody can.
//!
//! A [`Guest`] is a component of the contract around one core module. Its `call` copies the bytes that it is handed to
//! [`ANSWER_AT`] and answers with the place that stands in their first word, so that a test chooses what the host
//! finds in the guest's memory. The second word is a [`Deed`] that is done first. The same deeds can be done where
//! a component runs beside its calls: when it starts, describes itself, gives memory, and cleans up.

use std::borrow::Cow;

use wasm_encoder::{
    Alias, BlockType, CanonicalFunctionSection, CanonicalOption, CodeSection, Component,
    ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentImportSection,
    ComponentInstanceSection, ComponentSectionId, ComponentTypeRef, ConstExpr, DataSection, EntityType,
    ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection,
    InstanceSection, InstructionSink, MemArg, MemorySection, MemoryType, Module, ModuleArg, ModuleSection,
    RawSection, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
};

use super::contract::{ACCUMULATORS, Types};

/// Where the guest keeps how many calls it has had, a number of eight bytes.
pub(crate) const CALLS_AT: u32 = 16;
/// Where the description begins, and where what a call is handed is copied to.
pub(crate) const DESCRIPTION_AT: u32 = 0x1000;
pub(crate) const ANSWER_AT: u32 = 0x10_0000;
/// Where memory is given out.
const HEAP_AT: i32 = 0x20_0000;
/// Pages of 64 KiB that a guest has as a rule.
const PAGES: u64 = 64;

/// What a guest does that it should not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Deed {
    #[default]
    Nothing,
    Trap,
    Loop,
    Recurse,
    GrowTable,
    GrowMemory,
    /// Calls what the host offers.
    CallHost,
    /// Calls what it offers itself.
    CallItself,
}

/// What a component is made of.
pub(crate) struct Guest {
    /// The bytes from [`DESCRIPTION_AT`] on, and the place of the description among them.
    pub(crate) description: (Vec<u8>, u32),
    pub(crate) on_start: Deed,
    pub(crate) on_describe: Deed,
    pub(crate) on_realloc: Deed,
    pub(crate) on_return: Deed,
    /// Added to every place in memory that it gives out.
    pub(crate) realloc_off_by: i32,
    pub(crate) pages: u64,
    pub(crate) table_elements: u64,
    /// Further core instances, and the pages of the memory that each has.
    pub(crate) more_instances: u32,
    pub(crate) more_pages: u64,
    /// The interface that it imports.
    pub(crate) import: Cow<'static, str>,
}

impl Guest {
    pub(crate) fn new(description: (Vec<u8>, u32)) -> Self {
        Self {
            description,
            on_start: Deed::Nothing,
            on_describe: Deed::Nothing,
            on_realloc: Deed::Nothing,
            on_return: Deed::Nothing,
            realloc_off_by: 0,
            pages: PAGES,
            table_elements: 1,
            more_instances: 0,
            more_pages: 1,
            import: ACCUMULATORS.into(),
        }
    }

    /// The component's file.
    pub(crate) fn component(&self) -> Vec<u8> {
        component(self.module().as_slice(), self)
    }

    /// The core module. It imports the memory and `add`, and exports what is lifted.
    pub(crate) fn module(&self) -> Module {
        let mut module = Module::new();
        module.section(&types());
        let mut imports = ImportSection::new();
        imports.import("env", "memory", EntityType::Memory(memory(self.pages)));
        imports.import("env", "add", EntityType::Function(Signature::Add as u32));
        module.section(&imports);
        let mut functions = FunctionSection::new();
        EXPORTS.iter().for_each(|(_, signature)| {
            functions.function(*signature as u32);
        });
        functions.function(Signature::Deed as u32).function(Signature::Start as u32);
        module.section(&functions);
        let mut tables = TableSection::new();
        let table = TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: self.table_elements,
            maximum: None,
            shared: false,
        };
        module.section(tables.table(table));
        let mut globals = GlobalSection::new();
        let heap = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        module.section(globals.global(heap, &ConstExpr::i32_const(HEAP_AT)));
        module.section(&exports());
        module.section(&StartSection { function_index: START });
        module.section(&self.code());
        let mut data = DataSection::new();
        data.active(0, &ConstExpr::i32_const(DESCRIPTION_AT as i32), self.description.0.iter().copied());
        module.section(&data);
        module
    }

    fn code(&self) -> CodeSection {
        let mut code = CodeSection::new();
        let mut function = |body: &dyn Fn(&mut InstructionSink<'_>)| {
            let mut function = Function::new([]);
            body(&mut function.instructions());
            function.instructions().end();
            code.function(&function);
        };
        function(&|code| self.realloc(code));
        function(&|code| {
            do_deed(code, self.on_describe);
            code.i32_const(self.description.1 as i32);
        });
        function(&call);
        function(&|code| do_deed(code, self.on_return));
        function(&deed);
        function(&|code| do_deed(code, self.on_start));
        code
    }

    /// Gives the memory behind what it has given; `call` takes all of it back.
    fn realloc(&self, code: &mut InstructionSink<'_>) {
        do_deed(code, self.on_realloc);
        code.global_get(HEAP).i32_const(7).i32_add().i32_const(-8).i32_and().global_set(HEAP);
        code.global_get(HEAP).i32_const(self.realloc_off_by).i32_add();
        code.global_get(HEAP).local_get(3).i32_add().global_set(HEAP);
    }
}

/// Functions of the core module by number, the imported one first.
const ADD: u32 = 0;
const DESCRIBE: u32 = 2;
const DEED: u32 = 5;
const START: u32 = 6;
const HEAP: u32 = 0;

/// What is exported, in the order of the functions.
pub(crate) const EXPORTS: [(&str, Signature); 4] = [
    ("realloc", Signature::Realloc),
    ("describe", Signature::Describe),
    ("call", Signature::Call),
    ("post-return", Signature::Deed),
];

/// The types of core functions.
#[derive(Clone, Copy)]
pub(crate) enum Signature {
    Realloc,
    Describe,
    Call,
    Deed,
    Start,
    Add,
}

/// The section of the types, in the order of [`Signature`].
pub(crate) fn types() -> TypeSection {
    use ValType::{I32, I64};
    let mut types = TypeSection::new();
    types.ty().function([I32; 4], [I32]);
    types.ty().function([], [I32]);
    types.ty().function([I32, I64, I32, I32, I32, I32, I32, I32], [I32]);
    types.ty().function([I32], []);
    types.ty().function([], []);
    types.ty().function([I32, I32, I64], []);
    types
}

fn exports() -> ExportSection {
    let mut exports = ExportSection::new();
    for (number, (name, _)) in (1..).zip(EXPORTS) {
        exports.export(name, ExportKind::Func, number);
    }
    exports
}

pub(crate) fn memory(pages: u64) -> MemoryType {
    MemoryType { minimum: pages, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

const fn word(offset: u32) -> MemArg {
    MemArg { offset: offset as u64, align: 2, memory_index: 0 }
}

fn do_deed(code: &mut InstructionSink<'_>, deed: Deed) {
    code.i32_const(deed as i32).call(DEED);
}

/// Counts the call, copies the bytes of its one column, does their deed and answers with their first word.
fn call(code: &mut InstructionSink<'_>) {
    const COLUMNS: u32 = 4;
    let count = MemArg { offset: u64::from(CALLS_AT), align: 3, memory_index: 0 };
    code.i32_const(0).i32_const(0).i64_load(count).i64_const(1).i64_add().i64_store(count);
    code.i32_const(ANSWER_AT as i32);
    code.local_get(COLUMNS).i32_load(word(24)).local_get(COLUMNS).i32_load(word(28)).memory_copy(0, 0);
    code.i32_const(HEAP_AT).global_set(HEAP);
    code.i32_const(ANSWER_AT as i32).i32_load(word(4)).call(DEED);
    code.i32_const(ANSWER_AT as i32).i32_load(word(0));
}

/// Does the deed whose number is the argument.
fn deed(code: &mut InstructionSink<'_>) {
    let mut when = |deed: Deed, body: &dyn Fn(&mut InstructionSink<'_>)| {
        code.local_get(0).i32_const(deed as i32).i32_eq().if_(BlockType::Empty);
        body(code);
        code.end();
    };
    when(Deed::Trap, &|code| {
        code.unreachable();
    });
    when(Deed::Loop, &|code| {
        code.loop_(BlockType::Empty).br(0).end();
    });
    // What follows the call keeps it from being the last thing that is done.
    when(Deed::Recurse, &|code| {
        code.i32_const(Deed::Recurse as i32).call(DEED).i32_const(0).i32_const(0).i32_store(word(0));
    });
    when(Deed::GrowTable, &|code| {
        code.loop_(BlockType::Empty).ref_null(wasm_encoder::HeapType::FUNC).i32_const(10_000).table_grow(0);
        code.drop().br(0).end();
    });
    when(Deed::GrowMemory, &|code| {
        code.loop_(BlockType::Empty).i32_const(100).memory_grow(0).drop().br(0).end();
    });
    when(Deed::CallHost, &|code| {
        code.i32_const(DESCRIPTION_AT as i32).i32_const(1).i64_const(1).call(ADD);
    });
    when(Deed::CallItself, &|code| {
        code.call(DESCRIBE).drop();
    });
}

/// The component around a core module that imports `env.memory` and `env.add` and has the [`EXPORTS`].
pub(crate) fn component(main: &[u8], guest: &Guest) -> Vec<u8> {
    let mut component = Component::new();
    let types = Types::new();
    component.section(&types.section);
    let mut imports = ComponentImportSection::new();
    imports.import(guest.import.as_ref(), ComponentTypeRef::Instance(types.accumulators));
    component.section(&imports);
    let mut aliases = ComponentAliasSection::new();
    let add = Alias::InstanceExport { instance: 0, kind: ComponentExportKind::Func, name: "add" };
    component.section(aliases.alias(add));
    core(&mut component, main, guest);
    lift(&mut component, &types);
    component.finish()
}

/// Core modules and instances: the memory, what is imported, the main one, and more.
fn core(component: &mut Component, main: &[u8], guest: &Guest) {
    component.section(&ModuleSection(&memory_module(guest.pages)));
    component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: main });
    component.section(&ModuleSection(&memory_module(guest.more_pages)));
    let mut instances = InstanceSection::new();
    component.section(instances.instantiate(0, [("", ModuleArg::Instance(0)); 0]));
    let mut aliases = ComponentAliasSection::new();
    let memory = Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Memory, name: "memory" };
    component.section(aliases.alias(memory));
    let mut lowered = CanonicalFunctionSection::new();
    component.section(lowered.lower(0, [CanonicalOption::UTF8, CanonicalOption::Memory(0)]));
    let mut instances = InstanceSection::new();
    instances.export_items([("memory", ExportKind::Memory, 0), ("add", ExportKind::Func, 0)]);
    instances.instantiate(1, [("env", ModuleArg::Instance(1))]);
    for _ in 0..guest.more_instances {
        instances.instantiate(2, [("", ModuleArg::Instance(0)); 0]);
    }
    component.section(&instances);
}

fn memory_module(pages: u64) -> Module {
    let mut module = Module::new();
    let mut memories = MemorySection::new();
    module.section(memories.memory(memory(pages)));
    let mut exports = ExportSection::new();
    module.section(exports.export("memory", ExportKind::Memory, 0));
    module
}

/// Makes the two interfaces out of the main instance's functions.
fn lift(component: &mut Component, types: &Types) {
    let mut aliases = ComponentAliasSection::new();
    for (name, _) in EXPORTS {
        aliases.alias(Alias::CoreInstanceExport { instance: 2, kind: ExportKind::Func, name });
    }
    component.section(&aliases);
    let [realloc, describe, call, post_return] = [1, 2, 3, 4];
    let mut lifted = CanonicalFunctionSection::new();
    let options = [
        CanonicalOption::UTF8,
        CanonicalOption::Memory(0),
        CanonicalOption::Realloc(realloc),
        CanonicalOption::PostReturn(post_return),
    ];
    lifted.lift(describe, types.describe, options).lift(call, types.call, options);
    component.section(&lifted);
    let mut instances = ComponentInstanceSection::new();
    let mut exports = ComponentExportSection::new();
    for (number, interface) in types.interfaces().into_iter().enumerate() {
        let named = interface.types.iter().map(|(name, index)| (*name, ComponentExportKind::Type, *index));
        let function = (interface.function, ComponentExportKind::Func, 1 + number as u32);
        instances.export_items(named.chain([function]).collect::<Vec<_>>());
        exports.export(interface.name, ComponentExportKind::Instance, 1 + number as u32, None);
    }
    component.section(&instances);
    component.section(&exports);
}
