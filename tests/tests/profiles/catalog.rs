//! Software, and the images that machines are made from.

use reqwest::Method;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};

use crate::world::{World, delete, each, refused, text, with};

const SUM: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Software that comes to one family of systems.
fn software(os_type: &str, installer: &str, fields: Value) -> Value {
    let variant = with(json!({ "os_type": os_type, "installer": installer }), fields);
    json!({ "name": "Tool", "variants": [variant] })
}

#[tokio::test]
async fn software_is_kept_with_a_way_to_each_family_of_systems() {
    let world = World::start().await;
    let api = &world.api;
    let variants = json!([
        { "os_type": "windows", "installer": "winget", "package": "Git.Git", "version": "2.50.0" },
        { "os_type": "linux", "installer": "apt", "package": "git", "args": ["--quiet"] },
        { "os_type": "macos", "installer": "brew", "package": "git", "timeout": 900.0 },
    ]);
    let wish = json!({ "name": "Git", "description": "for versions", "variants": variants });
    let made = api.post("/software", &wish).await;
    assert_eq!((&made["version"], &made["customer_id"]), (&json!(1), &Value::Null), "{made}");
    for field in ["os_type", "installer", "package", "version"] {
        assert_eq!(each(&made["variants"], field), each(&variants, field), "{field}");
    }
    assert_eq!(made["variants"][1]["args"], json!(["--quiet"]));
    let path = format!("/software/{}", text(&made["id"]));
    assert_eq!(api.get(&path).await, made);
    let shout = json!({ "name": "GIT", "variants": variants });
    let taken = api.problem(Method::POST, "/software", &shout).await;
    assert_eq!(taken, (409, "ALREADY_EXISTS".into()));

    let put = async |tag: &str, change: &Value| {
        let request = api.request(Method::PUT, &path).header(IF_MATCH, tag).json(change);
        let answer = request.send().await.unwrap();
        let tag = answer.headers().get(ETAG).map(|tag| tag.to_str().unwrap().to_owned());
        (answer.status().as_u16(), tag)
    };
    let change = with(wish, json!({ "description": "for all versions" }));
    assert_eq!(put("\"1\"", &change).await, (200, Some("\"2\"".into())));
    assert_eq!(put("\"1\"", &change).await.0, 412);
    assert_eq!(api.get(&path).await["description"], "for all versions");
    delete(api, &path).await;
    assert_eq!(api.get("/software").await["total"], 0);
    assert_eq!(api.problem(Method::GET, &path, &json!({})).await.0, 404);
}

#[tokio::test]
async fn each_installer_takes_what_it_needs() {
    let world = World::start().await;
    let file = json!({ "url": "https://example.org/tool", "sha256": SUM });
    for (number, mut wish) in [
        software("windows", "winget", json!({ "package": "Git.Git" })),
        software("windows", "choco", json!({ "package": "git" })),
        software(
            "windows",
            "msi",
            with(file.clone(), json!({ "package": "{90160000-008C-0000-1000-0000000FF1CE}" })),
        ),
        software("windows", "exe", with(file.clone(), json!({ "detect": "exit 0" }))),
        software("linux", "apt", json!({ "package": "git", "version": "1:2.39.5-0+deb12u2" })),
        software("linux", "apt", with(file, json!({ "package": "tool" }))),
        software(
            "linux",
            "apt",
            json!({ "package": "tool", "url": "/srv/tool.deb", "sha256": SUM }),
        ),
        software("linux", "dnf", json!({ "package": "git" })),
        software("macos", "brew", json!({ "package": "git" })),
        software(
            "linux",
            "script",
            json!({ "detect": "false", "install": "true", "uninstall": "true" }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        wish["name"] = json!(format!("Tool {number}"));
        world.api.post("/software", &wish).await;
    }
    assert_eq!(world.api.get("/software").await["total"], 10);
}

#[tokio::test]
async fn software_that_could_not_be_installed_is_refused_and_its_fault_pointed_at() {
    let world = World::start().await;
    let url = "https://example.org/tool";
    for (wish, expected) in [
        (json!({ "name": "Tool", "variants": [] }), "/variants"),
        (software("windows", "winget", json!({})), "/variants/0/package"),
        (software("windows", "choco", json!({ "package": " " })), "/variants/0/package"),
        (software("linux", "winget", json!({ "package": "git" })), "/variants/0/installer"),
        (software("windows", "apt", json!({ "package": "git" })), "/variants/0/installer"),
        (software("macos", "dnf", json!({ "package": "git" })), "/variants/0/installer"),
        (software("linux", "apt", json!({ "package": "git", "url": url })), "/variants/0/sha256"),
        (
            software("linux", "apt", json!({ "package": "git", "url": url, "sha256": "00" })),
            "/variants/0/sha256",
        ),
        (
            software("linux", "apt", json!({ "package": "git", "url": "ftp://x", "sha256": SUM })),
            "/variants/0/url",
        ),
        (software("linux", "dnf", json!({ "package": "git", "url": url })), "/variants/0/url"),
        (software("windows", "msi", json!({ "package": "{0}" })), "/variants/0/url"),
        (software("windows", "exe", json!({ "url": url, "sha256": SUM })), "/variants/0/detect"),
        (software("linux", "script", json!({ "detect": "false" })), "/variants/0/install"),
        (software("linux", "script", json!({ "install": "true" })), "/variants/0/detect"),
        (
            software("linux", "apt", json!({ "package": "git", "install": "true" })),
            "/variants/0/install",
        ),
    ] {
        let refused = refused(&world.api, Method::POST, "/software", &wish).await;
        assert_eq!(refused, (422, "VALIDATION_FAILED".into(), expected.into()), "{wish}");
    }
    let twice = json!({ "os_type": "linux", "installer": "apt", "package": "git" });
    for wish in [
        json!({ "name": "Tool", "variants": [twice, twice] }),
        software("linux", "pip", json!({ "package": "git" })),
        software("linux", "apt", json!({ "package": "git", "colour": "red" })),
    ] {
        let refused = world.api.problem(Method::POST, "/software", &wish).await;
        assert_eq!(refused.0, 422, "{wish}");
    }
    assert_eq!(world.api.get("/software").await["total"], 0);
}

#[tokio::test]
async fn software_that_does_not_come_to_a_device_is_refused_before_anything_runs() {
    let world = World::start().await;
    let api = &world.api;
    let [device] = world.devices().await;
    let wish = software("windows", "winget", json!({ "package": "Git.Git" }));
    let item = api.post("/software", &wish).await["id"].clone();
    let profile = text(&api.post("/profiles", &json!({ "name": "Any system" })).await["id"]);
    for task in [
        crate::world::counted("ran", "true"),
        json!({ "name": "Tool", "action_type": "software", "software_id": item }),
    ] {
        api.post(&format!("/profiles/{profile}/tasks"), &task).await;
    }
    let path = format!("/profiles/{profile}/apply");
    let refused = api.problem(Method::POST, &path, &crate::world::to(&[&device])).await;
    assert_eq!(refused, (422, "VALIDATION_FAILED".into()));
    world.echo(&device).await;
    assert!(!device.has("ran"));
}

#[tokio::test]
async fn it_is_known_which_image_a_machine_was_made_from() {
    let world = World::start().await;
    let api = &world.api;
    let devices = world.devices::<2>().await;
    let image = json!({
        "name": "Kiosk", "os_type": "linux", "os_version": "Debian 13.2", "checksum": SUM,
        "url": "https://example.org/kiosk.img", "description": "as shipped",
    });
    let made = api.post("/os-images", &image).await;
    for (field, value) in image.as_object().unwrap() {
        assert_eq!(made[field], *value, "{field}");
    }
    let id = text(&made["id"]);
    let path = |number: usize| format!("/agents/{}/os-image", devices[number].id);
    let nothing = (404, "NOT_FOUND".to_owned());
    assert_eq!(api.problem(Method::GET, &path(0), &json!({})).await, nothing);
    let at = "2026-01-02T03:04:05Z";
    let set = api.put(&path(0), &json!({ "os_image_id": id, "imaged_at": at })).await;
    assert_eq!((&set["name"], &set["agent_id"]), (&json!("Kiosk"), &json!(devices[0].id)));
    assert!(text(&set["imaged_at"]).starts_with("2026-01-02T03:04:05"), "{set}");
    assert_eq!(api.get(&path(0)).await, set);
    assert!(api.put(&path(1), &json!({ "os_image_id": id })).await["imaged_at"].is_string());
    let made_from = async || api.get(&format!("/os-images/{id}/devices")).await;
    let mut ids = each(&made_from().await["items"], "agent_id");
    ids.sort_by_key(ToString::to_string);
    let mut expected = devices.each_ref().map(|device| json!(device.id));
    expected.sort_by_key(ToString::to_string);
    assert_eq!(ids, expected);
    delete(api, &path(1)).await;
    assert_eq!(made_from().await["items"], json!([set]));
    assert_eq!(api.problem(Method::DELETE, &path(1), &json!({})).await, nothing);
    let stranger = json!({ "os_image_id": devices[0].id });
    assert_eq!(api.problem(Method::PUT, &path(0), &stranger).await, nothing);

    let renamed = with(image, json!({ "name": "Kiosk 2" }));
    api.put(&format!("/os-images/{id}"), &renamed).await;
    assert_eq!(api.get(&path(0)).await["name"], "Kiosk 2");
    delete(api, &format!("/os-images/{id}")).await;
    assert_eq!(api.get("/os-images").await["total"], 0);
}

#[tokio::test]
async fn an_image_that_says_too_little_or_nonsense_is_refused() {
    let world = World::start().await;
    let good = json!({ "name": "Kiosk", "os_type": "linux", "os_version": "Debian 13.2" });
    for (change, expected) in [
        (json!({ "name": " " }), "/name"),
        (json!({ "os_version": "" }), "/os_version"),
        (json!({ "checksum": "12" }), "/checksum"),
        (json!({ "url": "kiosk.img" }), "/url"),
    ] {
        let wish = with(good.clone(), change);
        let refused = refused(&world.api, Method::POST, "/os-images", &wish).await;
        assert_eq!(refused, (422, "VALIDATION_FAILED".into(), expected.into()), "{wish}");
    }
    for change in [json!({ "os_type": "beos" }), json!({ "colour": "red" })] {
        let wish = with(good.clone(), change);
        assert_eq!(world.api.problem(Method::POST, "/os-images", &wish).await.0, 422, "{wish}");
    }
    assert_eq!(world.api.get("/os-images").await["total"], 0);
}
