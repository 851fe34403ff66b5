//! How much crosses the boundary.

use crate::contract::{
    Answer, Column, ColumnIn, Delivery, Expansion, Migrated, Outcome, Table, TableIn, Values, ValuesIn,
};

/// Rows, and the bytes of the buffers that they are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What a guest answers with.
pub(crate) trait Measured {
    /// As the guest says, before it is believed.
    fn volume(&self) -> Volume;
}

impl Measured for Table {
    fn volume(&self) -> Volume {
        let columns = self.columns.iter().chain(&self.items);
        Volume { rows: self.rows.into(), bytes: columns.map(Column::bytes).sum() }
    }
}

impl Measured for Answer {
    fn volume(&self) -> Volume {
        match self {
            Self::Rows(rows) => rows.volume(),
            Self::Expansion(Expansion { rows, origins }) => rows.volume().and(bytes(origins)),
            Self::Selection(bits) => {
                let kept = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
                Volume { rows: kept, bytes: bytes(bits) }
            }
        }
    }
}

impl Measured for Outcome {
    fn volume(&self) -> Volume {
        let Self { fates, states, output, origins } = self;
        output.volume().and(states.volume().bytes).and(bytes(fates)).and(bytes(origins))
    }
}

impl Measured for Migrated {
    fn volume(&self) -> Volume {
        let Self { origins, keys, states } = self;
        states.volume().and(keys.volume().bytes).and(bytes(origins))
    }
}

impl Measured for Delivery {
    fn volume(&self) -> Volume {
        self.rows.volume().and(self.position.as_ref().map_or(0, |position| bytes(position)))
    }
}

impl Measured for () {
    fn volume(&self) -> Volume {
        Volume::default()
    }
}

impl TableIn<'_> {
    pub(crate) fn volume(&self) -> Volume {
        let columns = self.columns.iter().chain(&self.items);
        Volume { rows: self.rows.into(), bytes: columns.map(ColumnIn::bytes).sum() }
    }
}

impl Volume {
    /// With more bytes that belong to the rows.
    pub(crate) fn and(self, bytes: u64) -> Self {
        Self { bytes: self.bytes + bytes, ..self }
    }
}

impl Column {
    fn bytes(&self) -> u64 {
        let values = match &self.values {
            Values::Boolean(bits) => bytes(bits),
            Values::Int64(values) | Values::Timestamp(values) => bytes(values),
            Values::Float64(values) => bytes(values),
            Values::Utf8(values) | Values::Binary(values) => bytes(&values.offsets) + bytes(&values.data),
            Values::List(lists) => bytes(&lists.offsets),
        };
        values + self.validity.as_deref().map_or(0, bytes)
    }
}

impl ColumnIn<'_> {
    fn bytes(&self) -> u64 {
        let values = match &self.values {
            ValuesIn::Boolean(bits) => bytes(bits),
            ValuesIn::Int64(values) | ValuesIn::Timestamp(values) => bytes(values),
            ValuesIn::Float64(values) => bytes(values),
            ValuesIn::Utf8(values) | ValuesIn::Binary(values) => bytes(values.offsets) + bytes(values.data),
            ValuesIn::List(lists) => bytes(lists.offsets),
        };
        values + self.validity.map_or(0, bytes)
    }
}

fn bytes<T>(values: &[T]) -> u64 {
    size_of_val(values) as u64
}
