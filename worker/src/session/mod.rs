//! The worker's session: what it holds, what it says, and when it ends its own agents.
mod effect;
mod held;
mod link;
mod machine;
