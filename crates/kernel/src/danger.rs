//! What it takes to run something dangerous.

/// What a customer asks of dangerous commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DangerPolicy {
    /// Nothing more than of others.
    #[default]
    Allow,
    /// That whoever runs one says that they know.
    Confirm,
    /// That a second person approves.
    Approve,
}

impl DangerPolicy {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Confirm => "confirm",
            Self::Approve => "approve",
        }
    }

    /// Reads what [`DangerPolicy::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Confirm, Self::Approve]
            .into_iter()
            .find(|policy| policy.as_str() == text)
    }
}
