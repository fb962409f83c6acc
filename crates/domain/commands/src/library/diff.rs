//! What differs between two texts.

use std::time::Duration;

use similar::TextDiff;

/// How long a shortest difference is looked for; after that a longer one will do.
const LOOKED_FOR: Duration = Duration::from_millis(300);

/// What to change in `old`, called `old_name`, to have `new`: a unified diff with three lines
/// around each change. It is empty when they are the same.
pub fn unified_diff((old_name, old): (&str, &str), (new_name, new): (&str, &str)) -> String {
    let diff = TextDiff::configure().timeout(LOOKED_FOR).diff_lines(old, new);
    diff.unified_diff().header(old_name, new_name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_changed_and_a_little_around_it() {
        let old = "1\n2\n3\n4\n5\nsix\n7\n8\n9\n10\n";
        let new = old.replace("six", "6");
        let diff = unified_diff(("version 1", old), ("version 2", &new));
        let expected = "--- version 1\n+++ version 2\n@@ -3,7 +3,7 @@\n \
            3\n 4\n 5\n-six\n+6\n 7\n 8\n 9\n";
        assert_eq!(diff, expected);
        assert_eq!(unified_diff(("a", old), ("b", old)), "");
    }

    #[test]
    fn the_longest_texts_are_compared_in_time() {
        let lines = |seed: u64| {
            let line = |n: u64| format!("{}\n", (n * seed) % 7919);
            (0..150_000).map(line).collect::<String>()
        };
        let begun = std::time::Instant::now();
        assert!(!unified_diff(("a", &lines(31)), ("b", &lines(37))).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
