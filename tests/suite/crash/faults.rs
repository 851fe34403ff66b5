//! Faults of the system.
