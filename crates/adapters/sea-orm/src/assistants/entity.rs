//! The tables `assistant_entries`, `assistant_chats`, `assistant_turns`, `assistant_proposals` and
//! `assistant_proposal_customers`.

/// The table `assistant_entries`.
pub(crate) mod entry {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "assistant_entries")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub kind: String,
        pub customer_id: Option<Uuid>,
        pub name: String,
        pub body: String,
        pub version: i32,
        pub created_at: i64,
        pub updated_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `assistant_chats`.
pub(crate) mod chat {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "assistant_chats")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Option<Uuid>,
        pub project_id: Option<Uuid>,
        pub assistant_id: Option<Uuid>,
        pub owner_id: Uuid,
        pub owner_kind: String,
        pub owner_name: String,
        pub title: String,
        pub created_at: i64,
        pub updated_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `assistant_turns`.
pub(crate) mod turn {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "assistant_turns")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub chat_id: Uuid,
        pub asked_by: Uuid,
        pub asked_by_kind: String,
        pub asker_name: String,
        pub agent_id: Option<Uuid>,
        pub message: String,
        pub response: String,
        pub steps: String,
        pub redacted: String,
        pub provider: String,
        pub llm: String,
        pub read_tokens: i64,
        pub written_tokens: i64,
        pub status: String,
        pub error: Option<String>,
        pub created_at: i64,
        pub finished_at: Option<i64>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `assistant_proposals`.
pub(crate) mod proposal {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "assistant_proposals")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub chat_id: Option<Uuid>,
        pub turn_id: Option<Uuid>,
        pub project_id: Option<Uuid>,
        pub assistant_id: Option<Uuid>,
        pub assistant_name: String,
        pub llm: Option<String>,
        pub asked_by: Uuid,
        pub asked_by_kind: String,
        pub asker_name: String,
        pub agent_ids: String,
        pub work: String,
        pub script_version_id: Option<Uuid>,
        pub strategy: String,
        pub explanation: String,
        pub safety_level: String,
        pub safety_reasons: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub status: String,
        pub decided_by: Option<Uuid>,
        pub decider_name: Option<String>,
        pub decided_at: Option<i64>,
        pub reason: Option<String>,
        pub superseded_by: Option<Uuid>,
        pub run_id: Option<Uuid>,
        pub approval_id: Option<Uuid>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `assistant_proposal_customers`.
pub(crate) mod owner {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "assistant_proposal_customers")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub proposal_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
