//! One order to many machines.

mod wish;

pub use wish::{
    MAX_AGENT_IDS, ParameterValue, Parameters, Strategy, Target, Template, Wording, Work,
};
