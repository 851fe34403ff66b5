//! `split-words` as a function of the host: what the sandbox is compared with.

use std::sync::Arc;

use arrow::array::{AsArray, ByteView, StringViewBuilder};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use millstream_model::pipeline::PluginSpec;
use millstream_model::{
    Answer, Answered, CallContext, DataType, Expansion, Field, Function, FunctionDescription, FunctionError,
    FunctionKind, PluginDescription, Schema,
};
use millstream_pipeline::{Component, Components, LoadError};
use millstream_sdk::text::words;

/// Gives native components in place of all plugins.
pub(crate) struct NativeComponents;

#[async_trait]
impl Components for NativeComponents {
    async fn load(&self, _plugin: &PluginSpec) -> Result<Arc<dyn Component>, LoadError> {
        let functions = vec![split_words()];
        Ok(Arc::new(Native(PluginDescription { functions, ..PluginDescription::default() })))
    }
}

struct Native(PluginDescription);

impl Component for Native {
    fn description(&self) -> &PluginDescription {
        &self.0
    }

    fn function(&self, index: usize) -> Arc<dyn Function> {
        Arc::new(SplitWords(self.0.functions[index].clone()))
    }
}

fn split_words() -> FunctionDescription {
    FunctionDescription {
        name: "split-words".into(),
        kind: FunctionKind::FlatMap,
        input: Schema::new([Field::new("value", DataType::Utf8)]),
        output: Schema::new([Field::new("word", DataType::Utf8)]),
        keys: Schema::default(),
        state: Schema::default(),
        state_version: 0,
        migrations: Vec::new(),
        documentation: String::new(),
    }
}

#[derive(Debug)]
struct SplitWords(FunctionDescription);

#[async_trait]
impl Function for SplitWords {
    fn description(&self) -> &FunctionDescription {
        &self.0
    }

    /// Words are views into the buffers of the lines: nothing is copied.
    async fn call(&self, _context: CallContext, rows: RecordBatch) -> Result<Answered, FunctionError> {
        let lines = rows.column(0).as_string_view();
        let mut given = StringViewBuilder::with_capacity(rows.num_rows() * 6);
        let blocks: Vec<u32> =
            lines.data_buffers().iter().map(|buffer| given.append_block(buffer.clone())).collect();
        let mut origins = Vec::with_capacity(rows.num_rows() * 6);
        for (row, (line, view)) in lines.iter().zip(lines.views()).enumerate() {
            let Some(line) = line else { continue };
            for word in words(line) {
                append(&mut given, line, word, *view, &blocks);
                origins.push(row as u32);
            }
        }
        let schema = Arc::new(self.0.output.to_arrow());
        let rows = RecordBatch::try_new(schema, vec![Arc::new(given.finish())]).expect("one column of words");
        Ok(Answer::Expansion(Expansion { rows, origins }).into())
    }
}

/// Appends `word`, which lies in `line`, whose view is `view`.
fn append(words: &mut StringViewBuilder, line: &str, word: &str, view: u128, blocks: &[u32]) {
    if line.len() <= 12 {
        words.append_value(word);
        return;
    }
    let view = ByteView::from(view);
    let offset = view.offset + (word.as_ptr() as usize - line.as_ptr() as usize) as u32;
    let appended = words.try_append_view(blocks[view.buffer_index as usize], offset, word.len() as u32);
    appended.expect("the word lies in the line's buffer");
}
