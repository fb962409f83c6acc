//! Builds anew when the dashboard was: files that are new are seen by no other means.

use std::path::Path;

/// Where `npm run build` puts the dashboard.
const DASHBOARD: &str = "../../dashboard/dist";

fn main() {
    // What is named and not there would have everything built anew each time.
    let watched = if Path::new(DASHBOARD).is_dir() { DASHBOARD } else { "build.rs" };
    println!("cargo::rerun-if-changed={watched}");
}
