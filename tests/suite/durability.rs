//! What survives: of a pipeline that is stopped, refused, damaged, paused or changed.

mod damage;
mod life;
mod past;
mod show;
mod system;
