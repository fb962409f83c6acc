//! Assistants, projects, conversations and proposals that operations are about.

use muster_tests::model::Model;
use serde_json::{Value, json};

use super::{Row, World, id, text};

impl World {
    /// The path about something new of Acme's that belongs to assistants; `None` for other paths.
    pub(crate) async fn about_assistants(&self, row: &Row, unique: &str) -> Option<String> {
        let path = row.path.as_str();
        let made = if path.starts_with("/assistants/{id}") {
            id(&self.admin.post("/assistants", &self.named(unique)).await)
        } else if path.starts_with("/projects/{id}") {
            id(&self.admin.post("/projects", &self.named(unique)).await)
        } else if path.starts_with("/chat/{id}") {
            text(&self.talk(unique).await["chat_id"])
        } else if path.starts_with("/proposals/{id}") {
            id(&self.talk(unique).await["proposals"][0])
        } else {
            return None;
        };
        Some(path.replace("{id}", &made))
    }

    /// A body that is good; `None` for what does not belong to assistants.
    pub(crate) fn body_of_assistants(&self, row: &Row, unique: &str) -> Option<Value> {
        Some(match (row.method.as_str(), row.path.as_str()) {
            ("POST", "/assistants" | "/projects") => self.named(unique),
            ("PUT", "/assistants/{id}" | "/projects/{id}") => json!({ "description": unique }),
            ("POST", "/chat") => json!({ "message": "Look.", "agent_id": self.agent }),
            _ => return None,
        })
    }

    fn named(&self, name: &str) -> Value {
        json!({ "name": name, "customer_id": self.acme })
    }

    /// A turn of a conversation in a project of Acme's, in which a command on the agent is proposed.
    /// The model is there for as long as that takes.
    async fn talk(&self, unique: &str) -> Value {
        let model = Model::start();
        self.admin.post("/settings/chatgpt/config", &model.config()).await;
        let project = self.admin.post("/projects", &self.named(unique)).await;
        model.call(
            "propose_command",
            &json!({
                "agent_id": self.agent, "command": "echo", "shell_type": "sh",
                "explanation": "It says nothing.", "safety_level": "safe",
            }),
        );
        model.say("Decide.");
        let wish = json!({ "project_id": project["id"], "message": "Do it." });
        let said = self.admin.post("/chat", &wish).await;
        let gone = reqwest::Method::DELETE;
        self.admin.problem(gone, "/settings/ai_base_url", &json!({})).await;
        said
    }
}
