use std::error::Error;

use datafusion::common::Diagnostic;
use datafusion::error::DataFusionError;
use millstream_model::FunctionError;
use thiserror::Error;

/// Why a plan could not be made or run.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The query is wrong. Refuse it.
    #[error("{message}")]
    Sql {
        /// What is wrong, in one line.
        message: String,
        /// Where, if that is known: line and column in the SQL text, from 1.
        place: Option<(usize, usize)>,
    },
    /// A plugin's function failed. Its own fate says what to do.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A function cannot do its work at this time, whatever the rows. The same rows may pass later.
    #[error("{function} {reason}")]
    Unusable {
        /// `plugin.function`.
        function: String,
        /// What it does instead.
        reason: String,
    },
    /// The output did not take the rows.
    #[error("{0}")]
    Output(String),
    /// What the calls added to accumulators breaks their limits; on the same rows it does again.
    #[error("counting accumulators: {0}")]
    Accumulators(String),
    /// The plan failed on these rows; on the same rows it fails again.
    #[error("computing stream \"{relation}\": {message}")]
    Run {
        /// The stream.
        relation: String,
        /// What went wrong.
        message: String,
    },
}

impl QueryError {
    /// What planning reports, with the place where DataFusion or its parser knows it.
    pub(crate) fn planning(error: &DataFusionError) -> Self {
        if let Some(Diagnostic { message, span: Some(span), .. }) = error.diagnostic() {
            let start = (span.start.line as usize, span.start.column as usize);
            let message = detail(error).unwrap_or_else(|| message.clone());
            return Self::Sql { message: one_line(split_place(&message).0), place: Some(start) };
        }
        let text = detail(error).unwrap_or_else(|| error.strip_backtrace());
        let (message, place) = split_place(&text);
        Self::Sql { message: one_line(message), place }
    }

    /// What running a plan reports; errors of functions and outputs come through as themselves.
    pub(crate) fn running(relation: &str, error: &DataFusionError) -> Self {
        match find(error) {
            Some(own) => own,
            None => Self::Run { relation: relation.to_owned(), message: one_line(&error.strip_backtrace()) },
        }
    }

    fn copy(&self) -> Option<Self> {
        match self {
            Self::Function(error) => Some(Self::Function(error.clone())),
            Self::Unusable { function, reason } => {
                Some(Self::Unusable { function: function.clone(), reason: reason.clone() })
            }
            Self::Output(message) => Some(Self::Output(message.clone())),
            Self::Accumulators(message) => Some(Self::Accumulators(message.clone())),
            Self::Sql { .. } | Self::Run { .. } => None,
        }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

/// The innermost message, without the prefixes that say which part of DataFusion speaks.
fn detail(error: &DataFusionError) -> Option<String> {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => detail(inner),
        DataFusionError::Collection(all) => all.first().and_then(detail),
        DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => Some(message.clone()),
        DataFusionError::SQL(parser, _) => {
            let text = parser.to_string();
            Some(text.trim_start_matches("sql parser error: ").to_owned())
        }
        DataFusionError::SchemaError(schema, _) => Some(schema.to_string()),
        _ => None,
    }
}

/// Finds an error of ours in the chain of causes.
fn find(error: &DataFusionError) -> Option<QueryError> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<QueryError>() {
            return own.copy();
        }
        cause = match current.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Context(_, inner)) => Some(inner.as_ref()),
            _ => current.source(),
        };
    }
    None
}

/// Takes the parser's " at Line: 1, Column: 15" off the end of a message.
fn split_place(text: &str) -> (&str, Option<(usize, usize)>) {
    let parsed = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
        Some((message, (line.parse().ok()?, column[..digits].parse().ok()?)))
    });
    match parsed {
        Some((message, place)) => (message, Some(place)),
        None => (text, None),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
