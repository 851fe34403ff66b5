//! One binary, a module per feature.

mod architecture;
