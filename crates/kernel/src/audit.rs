//! What a change says of itself to the audit log.
//!
//! A repository that writes a change writes its [`Deed`] in the same transaction. What a type
//! tells about itself, [`Audited`] says; secrets and hashes of secrets are not among it.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::CustomerId;

/// Which thing something was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What kind of thing: `customer`, `user`.
    pub kind: &'static str,
    /// Which one.
    pub id: Uuid,
    /// Whose it is.
    pub customer_id: Option<CustomerId>,
}

/// A thing whose changes are audited.
pub trait Audited {
    /// Which thing it is.
    fn place(&self) -> Place;

    /// What the log shows of it: an object without secrets.
    fn facts(&self) -> Value;
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// What: `customer.update`.
    pub action: &'static str,
    /// To which thing.
    pub place: Place,
    /// What was another before, and how it was.
    pub before: Option<Value>,
    /// What is another now, and how it is.
    pub after: Option<Value>,
}

impl Deed {
    /// `thing` is new.
    pub fn created(action: &'static str, thing: &impl Audited) -> Self {
        Self { action, place: thing.place(), before: None, after: Some(thing.facts()) }
    }

    /// `thing` is gone.
    pub fn removed(action: &'static str, thing: &impl Audited) -> Self {
        Self { action, place: thing.place(), before: Some(thing.facts()), after: None }
    }

    /// A thing changed: only the facts that differ are kept.
    pub fn changed<T: Audited>(action: &'static str, before: &T, after: &T) -> Self {
        let (mut before, mut after) = (before.facts(), (after.place(), after.facts()));
        if let (Value::Object(before), Value::Object(after)) = (&mut before, &mut after.1) {
            drop_equal(before, after);
        }
        Self { action, place: after.0, before: Some(before), after: Some(after.1) }
    }

    /// Something was done to a thing, of which `facts` tell more.
    pub const fn done(action: &'static str, place: Place, facts: Option<Value>) -> Self {
        Self { action, place, before: None, after: facts }
    }
}

fn drop_equal(before: &mut Map<String, Value>, after: &mut Map<String, Value>) {
    let equal: Vec<_> = before
        .iter()
        .filter(|(name, value)| after.get(*name) == Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in equal {
        before.remove(&name);
        after.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Thing(Value);

    impl Audited for Thing {
        fn place(&self) -> Place {
            Place { kind: "thing", id: Uuid::nil(), customer_id: None }
        }

        fn facts(&self) -> Value {
            self.0.clone()
        }
    }

    #[test]
    fn a_change_tells_what_differs_and_nothing_else() {
        let (old, new) = (Thing(json!({"a": 1, "b": 2})), Thing(json!({"a": 1, "b": 3, "c": 4})));
        let deed = Deed::changed("thing.update", &old, &new);
        assert_eq!(deed.before, Some(json!({"b": 2})));
        assert_eq!(deed.after, Some(json!({"b": 3, "c": 4})));
    }
}
