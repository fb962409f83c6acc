//! Changes messages within their JSON: bytes alone seldom stay a message.

use std::collections::BTreeMap;

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// How many bytes the fuzzer may make a text longer by.
const ROOM: usize = 32;

/// Makes another input of the first `size` bytes, for `fuzz_mutator!`.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed));
    let message = data.get(..size).and_then(|text| serde_json::from_slice::<Value>(text).ok());
    let Some(mut message) = message.filter(|_| dice.below(8) > 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=dice.below(2) {
        let mut chosen = dice.below(count(&message));
        if let Some(place) = find(&mut message, &mut chosen) {
            change(place, &mut dice);
        }
    }
    let text = message.to_string();
    match data.get_mut(..text.len()) {
        Some(place) if text.len() <= max_size => {
            place.copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// Numbers that follow from a seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(word >> 33).unwrap_or_default() % end.max(1)
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value that so many others come before.
fn find<'a>(value: &'a mut Value, before: &mut usize) -> Option<&'a mut Value> {
    if *before == 0 {
        return Some(value);
    }
    *before -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| find(item, before)),
        Value::Object(fields) => fields.values_mut().find_map(|field| find(field, before)),
        _ => None,
    }
}

fn change(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(fields) if dice.below(8) > 0 => {
            let mut named: Vec<_> = std::mem::take(fields).into_iter().collect();
            change_fields(&mut named, dice);
            *fields = named.into_iter().collect();
        }
        Value::Array(items) if dice.below(4) > 0 => {
            let chosen = dice.below(items.len());
            match dice.below(2) {
                0 if !items.is_empty() => drop(items.remove(chosen)),
                _ => items.push(items.get(chosen).cloned().unwrap_or_else(|| telling(dice))),
            }
        }
        Value::String(text) if dice.below(2) == 0 => *text = another(text),
        Value::Number(number) if dice.below(4) == 0 => *value = Value::String(number.to_string()),
        _ => *value = telling(dice),
    }
}

fn change_fields(named: &mut Vec<(String, Value)>, dice: &mut Dice) {
    if named.is_empty() {
        return named.push((another("data"), telling(dice)));
    }
    let (one, other) = (dice.below(named.len()), dice.below(named.len()));
    match dice.below(6) {
        0 => drop(named.swap_remove(one)),
        1 => {
            let value = named[one].1.clone();
            named[other].1 = value;
        }
        2 => named[one].0 = another(&named[one].0),
        3 => {
            let (name, value) = named[one].clone();
            named.push((another(&name), value));
        }
        4 => {
            // What stood beside stands within, or the other way round.
            let all: BTreeMap<_, _> = named.drain(..).collect();
            match all.get("data") {
                Some(Value::Object(data)) => named.extend(data.clone()),
                _ => {
                    named.extend(all.get("type").map(|kind| ("type".to_owned(), kind.clone())));
                    named.push(("data".to_owned(), json!(all)));
                }
            }
        }
        _ => named[one].1 = telling(dice),
    }
}

/// A text as the fuzzer changes it, which knows what texts are compared with.
fn another(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + ROOM, 0);
    let size = fuzzer_mutate(&mut bytes, text.len(), text.len() + ROOM);
    bytes.truncate(size);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A value at the end of what some type holds, or of another type.
fn telling(dice: &mut Dice) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(256),
        json!(i32::MAX),
        json!(i64::from(i32::MAX) + 1),
        json!(i32::MIN),
        json!(u32::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.0),
        json!(100.0),
        json!(1e-300),
        json!(1e39),
        json!(f64::MAX),
        json!(""),
        json!("0"),
        json!(" \u{7} \0"),
        json!("\u{85}\u{202e}é😀"),
        json!("x".repeat(200)),
        json!("é".repeat(201)),
        json!("0190163d-8694-739b-aea5-966c26f8ad91"),
        json!("0190163D8694739BAEA5966C26F8AD91"),
        json!("+262142-12-31T23:59:60Z"),
        json!([]),
        json!({}),
    ];
    values[dice.below(values.len())].clone()
}
