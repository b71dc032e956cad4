//! Nodes: binding them to an account, what they do and earn, what keeps them from work.

mod code;
mod flags;
mod penalties;

pub use code::{join_code_hash, new_join_code};
pub use flags::{NodeAction, NodeFlag};
pub use penalties::{Appeal, AppealDecision, AppealPenalty, Penalty, PenaltyState};
