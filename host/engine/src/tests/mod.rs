//! The engine from outside: a fed source, a keeping sink, and an application between them.

mod counting;
mod direct;
mod events;
mod isolation;
mod lab;
mod letters;
mod life;
mod losses;
mod pause;
mod probation;
mod receive;
mod recovery;
mod shadow;
mod simulation;
mod sink;
mod status;
mod storage;
mod swap;
mod tables;
mod ticks;
mod waiting;
