//! Times in which alerts are silent.

use muster_kernel::windows::{
    InvalidWindow, MaintenanceWindow as Weekly, WindowWish as WeeklyWish,
};
use muster_kernel::{Audited, CustomerId, MaintenanceWindowId, Place, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rule::name;
use crate::{InvalidAlert, Machine, Selector};

/// When a window is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// Once.
    Once {
        /// From here
        from: Timestamp,
        /// to here, which is outside.
        to: Timestamp,
    },
    /// Every week.
    Weekly(Weekly),
}

/// When a window is to be, in the words of whoever asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of Span")]
pub enum SpanWish {
    Once { from: Timestamp, to: Timestamp },
    Weekly(WeeklyWish),
}

impl Span {
    /// Checks what came in.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn parse(wish: &SpanWish, now: Timestamp) -> Result<Self, InvalidAlert> {
        match wish {
            SpanWish::Once { from, to } if *to <= *from || *to <= now => {
                Err(InvalidAlert::new("to", "an instant after `from` and to come is expected"))
            }
            SpanWish::Once { from, to } => Ok(Self::Once { from: *from, to: *to }),
            SpanWish::Weekly(wish) => Weekly::parse(wish)
                .map(Self::Weekly)
                .map_err(|InvalidWindow(rule)| InvalidAlert::new("weekly", rule)),
        }
    }

    /// Whether an instant lies within.
    pub fn contains(&self, at: Timestamp) -> bool {
        match self {
            Self::Once { from, to } => *from <= at && at < *to,
            Self::Weekly(weekly) => weekly.around(at).is_some(),
        }
    }

    /// Whether there is nothing of it after `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        matches!(self, Self::Once { to, .. } if *to <= now)
    }
}

/// A time in which the alerts of machines are silent. One that begins in it is recorded, and people
/// are told at its end if it is still true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// Its id.
    pub id: MaintenanceWindowId,
    /// Whose machines; with `None` those of all customers.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// Which machines.
    pub selector: Selector,
    /// When.
    pub span: Span,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A window in the words of whoever asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of MaintenanceWindow")]
pub struct WindowWish {
    pub name: String,
    pub customer_id: Option<CustomerId>,
    pub selector: Selector,
    pub span: SpanWish,
}

impl WindowWish {
    /// The window that is wished for.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn into_window(
        self,
        id: MaintenanceWindowId,
        customer_id: Option<CustomerId>,
        now: Timestamp,
    ) -> Result<MaintenanceWindow, InvalidAlert> {
        self.selector.check()?;
        let span = Span::parse(&self.span, now)?;
        let name = name(&self.name)?;
        let selector = self.selector;
        Ok(MaintenanceWindow { id, customer_id, name, selector, span, created_at: now })
    }
}

impl MaintenanceWindow {
    /// Whether alerts of a machine are silent.
    pub fn silences(&self, machine: &Machine, at: Timestamp) -> bool {
        self.span.contains(at) && self.selector.means(self.customer_id, machine)
    }
}

impl Audited for MaintenanceWindow {
    fn place(&self) -> Place {
        Place { kind: "maintenance_window", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        json!({ "name": self.name, "selector": self.selector, "span": self.span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_silences_the_machines_it_means_from_its_start_to_its_end() {
        let (from, to) = (at("2026-01-05T20:00:00Z"), at("2026-01-05T22:00:00Z"));
        let selector = Selector { tags: ["web".to_owned()].into(), ..Selector::default() };
        let span = SpanWish::Once { from, to };
        let wish = WindowWish { name: "move".into(), customer_id: None, selector, span };
        let id = MaintenanceWindowId::from_uuid(uuid::Uuid::nil());
        let window = wish.clone().into_window(id, None, from).unwrap();
        let web = crate::testing::machine(1, &["web", "db"]);
        assert!(window.silences(&web, from) && !window.silences(&web, to));
        assert!(!window.silences(&crate::testing::machine(2, &["db"]), from));
        assert_eq!(wish.into_window(id, None, to).unwrap_err().field, "to", "it is over");
    }
}
