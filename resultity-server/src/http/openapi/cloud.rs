//! The operations of the Cloud API.

use resultity_core::api::files::FileQuery;
use resultity_core::api::jobs::{Feedback, Job, JobQuery, JobRequest};
use resultity_core::api::page::PageQuery;
use resultity_core::api::usage::{CreditBalance, UsageQuery, UsageReport};
use resultity_core::api::webhooks::{
    CreateWebhook, RotateWebhookSecret, TestWebhook, UpdateWebhook, Webhook, WebhookDeleted, WebhookDelivery,
    WebhookWithSecret,
};
use resultity_core::compute::{Compute, ComputeRequest};
use resultity_core::error::ErrorCode;
use resultity_core::openai::batch::{Batch, BatchRequest};
use resultity_core::openai::chat::{ChatChunk, ChatCompletion, ChatRequest};
use resultity_core::openai::completion::{Completion, CompletionRequest};
use resultity_core::openai::embedding::{EmbeddingList, EmbeddingRequest};
use resultity_core::openai::file::{ExpiresAfter, File, FileDeleted, FilePurpose};
use resultity_core::openai::model::{Model, ModelList};
use resultity_core::openai::response::{DeletedResponse, InputItem, Response, ResponseEvent, ResponseRequest};
use resultity_core::receipt::SignedReceipt;
use utoipa::PartialSchema;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::operation::Operation;

const CHAT: &str = "Chat";
const COMPLETIONS: &str = "Completions";
const EMBEDDINGS: &str = "Embeddings";
const COMPUTE: &str = "Compute";
const MODELS: &str = "Models";
const RESPONSES: &str = "Responses";
const FILES: &str = "Files";
const BATCHES: &str = "Batches";
const JOBS: &str = "Jobs";
const USAGE: &str = "Usage";
const WEBHOOKS: &str = "Webhooks";
const LATER: &str = "Not served yet";

/// The tags of all surfaces with what they are about, in the order in which they are shown.
pub(super) const TAGS: [(&str, &str); 23] = [
    (CHAT, "Conversations."),
    (
        RESPONSES,
        "Conversations whose answers are kept, can be polled for and gone on from.",
    ),
    (COMPLETIONS, "Texts to be gone on with."),
    (EMBEDDINGS, "Texts as numbers."),
    (COMPUTE, "Containers: any JSON object in, any JSON out."),
    (MODELS, "What can be asked."),
    (FILES, "What batches read and write."),
    (BATCHES, "Many requests in a file."),
    (
        JOBS,
        "The native view of everything that was asked, and a way to ask without waiting.",
    ),
    (USAGE, "What was spent and what may be spent."),
    (WEBHOOKS, "Who is told what has happened (Standard Webhooks)."),
    ("Gate: signing in", "Sign-up, sign-in, sessions, access tokens."),
    ("Gate: account", "Credentials: e-mail, wallets, second factor."),
    (
        "Gate: namespaces and keys",
        "Balances of their own, and who may spend them.",
    ),
    (
        "Gate: credits",
        "Where every credit went; faucet, vouchers, transfers, alerts.",
    ),
    ("Gate: nodes", "Machines of the account: binding, control, earnings."),
    ("Gate: Subclouds", "Groups of nodes that jobs can be addressed to."),
    (
        "Gate: configuration",
        "Snapshots: models, prices, versions; the network's key.",
    ),
    ("Gate: administration", "Running the network."),
    ("Status", "What the public may see."),
    ("IO", "For nodes."),
    ("Operations", "For whoever runs the server."),
    (LATER, "OpenAI's endpoints that no Runtime serves: they answer 501."),
];

pub(super) fn operations() -> Vec<Operation> {
    let mut all = inference();
    all.extend(responses());
    all.extend(files_and_batches());
    all.extend(jobs());
    all.extend(webhooks());
    all.extend(later());
    all
}

fn inference() -> Vec<Operation> {
    vec![
        Operation::new(Post, "/v1/chat/completions", CHAT, "createChatCompletion", "Answer a conversation")
            .about(
                "With `stream`, the answer comes as events that end with `data: [DONE]`; an error after the first byte is an \
                 event with an error object.",
            )
            .takes::<ChatRequest>()
            .gives::<ChatCompletion>("The answer.")
            .or_events::<ChatChunk>()
            .makes_a_job()
            .fails([ErrorCode::ContextLengthExceeded]),
        Operation::new(Post, "/v1/completions", COMPLETIONS, "createCompletion", "Go on with a text")
            .takes::<CompletionRequest>()
            .gives::<Completion>("The continuations.")
            .or_events::<Completion>()
            .makes_a_job(),
        Operation::new(Post, "/v1/embeddings", EMBEDDINGS, "createEmbedding", "Turn texts into numbers")
            .takes::<EmbeddingRequest>()
            .gives::<EmbeddingList>("One embedding for each text.")
            .makes_a_job(),
        Operation::new(Post, "/v1/compute", COMPUTE, "createCompute", "Have a container compute something")
            .about("Of models with the capability `container`. Numbers keep their digits both ways. Paid by the request.")
            .takes::<ComputeRequest>()
            .gives::<Compute>("What the container answered, word for word.")
            .makes_a_job(),
        Operation::new(Get, "/v1/models", MODELS, "listModels", "What this key can ask now, aliases included")
            .gives::<ModelList>("The models."),
        Operation::new(Get, "/v1/models/{*id}", MODELS, "retrieveModel", "One model")
            .about("The id may hold slashes, raw or as `%2F`.")
            .gives::<Model>("The model.")
            .fails([ErrorCode::PermissionDenied, ErrorCode::ModelNotFound]),
    ]
}

fn responses() -> Vec<Operation> {
    vec![
        Operation::new(Post, "/v1/responses", RESPONSES, "createResponse", "Answer, and keep the answer")
            .about(
                "With `background`, the answer to this call comes at once with the status `queued`: poll for it, or follow its \
                 events. Whoever goes away then does not cancel it.",
            )
            .takes::<ResponseRequest>()
            .gives::<Response>("The response.")
            .or_events::<ResponseEvent>()
            .makes_a_job(),
        Operation::new(Get, "/v1/responses/{response}", RESPONSES, "getResponse", "A response that is kept")
            .query_field("stream", Type::Boolean, "Whether its events are to be told instead.")
            .query_field("starting_after", Type::Integer, "Only events behind the one with this `sequence_number`.")
            .gives::<Response>("The response as it stands.")
            .or_events::<ResponseEvent>()
            .of_one(),
        Operation::new(Delete, "/v1/responses/{response}", RESPONSES, "deleteResponse", "Forget a response")
            .gives::<DeletedResponse>("It is gone.")
            .of_one(),
        Operation::new(Post, "/v1/responses/{response}/cancel", RESPONSES, "cancelResponse", "Stop a background response")
            .about("One that has ended stays as it is.")
            .gives::<Response>("The response as it is then.")
            .of_one(),
        Operation::new(
            Get,
            "/v1/responses/{response}/input_items",
            RESPONSES,
            "listInputItems",
            "What was asked, with all that it went on from",
        )
        .query::<PageQuery>()
        .gives_page::<InputItem>("A page of items.")
        .of_one(),
    ]
}

fn files_and_batches() -> Vec<Operation> {
    let upload = ObjectBuilder::new()
        .property("purpose", FilePurpose::schema())
        .required("purpose")
        .property("expires_after", ExpiresAfter::schema())
        .property(
            "file",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
                .description(Some("The content, with a file name. It has to come last.")),
        )
        .required("file");
    vec![
        Operation::new(Post, "/v1/files", FILES, "createFile", "Store a file")
            .takes_form(upload)
            .gives::<File>("The file."),
        Operation::new(
            Get,
            "/v1/files",
            FILES,
            "listFiles",
            "The files of this key's namespace",
        )
        .query::<FileQuery>()
        .gives_page::<File>("A page of files."),
        Operation::new(
            Get,
            "/v1/files/{file}",
            FILES,
            "retrieveFile",
            "A file, without its content",
        )
        .gives::<File>("The file.")
        .of_one(),
        Operation::new(Delete, "/v1/files/{file}", FILES, "deleteFile", "Delete a file")
            .gives::<FileDeleted>("It is gone.")
            .of_one()
            .fails([ErrorCode::Conflict]),
        Operation::new(
            Get,
            "/v1/files/{file}/content",
            FILES,
            "downloadFile",
            "The content of a file",
        )
        .gives_bytes("The content.")
        .of_one(),
        Operation::new(
            Post,
            "/v1/batches",
            BATCHES,
            "createBatch",
            "Run the requests of a file",
        )
        .about("The file is looked at afterwards: what is wrong with it is in the batch. Each line is billed once.")
        .takes::<BatchRequest>()
        .gives::<Batch>("The batch.")
        .of_one(),
        Operation::new(
            Get,
            "/v1/batches",
            BATCHES,
            "listBatches",
            "The batches of this key's namespace",
        )
        .query::<PageQuery>()
        .gives_page::<Batch>("A page of batches."),
        Operation::new(Get, "/v1/batches/{batch}", BATCHES, "retrieveBatch", "A batch")
            .gives::<Batch>("The batch as it is now.")
            .of_one(),
        Operation::new(
            Post,
            "/v1/batches/{batch}/cancel",
            BATCHES,
            "cancelBatch",
            "Stop a batch",
        )
        .about("What is done stays done.")
        .gives::<Batch>("The batch as it is then.")
        .of_one()
        .fails([ErrorCode::Conflict]),
    ]
}

fn jobs() -> Vec<Operation> {
    vec![
        Operation::new(Post, "/v1/jobs", JOBS, "createJob", "Ask without waiting")
            .about("Takes the body of any endpoint that answers. The job goes on without the caller and survives restarts.")
            .takes::<JobRequest>()
            .gives::<Job>("The job; its answer is in it once it is there.")
            .status("202")
            .makes_a_job(),
        Operation::new(Get, "/v1/jobs", JOBS, "listJobs", "The jobs of this key's namespace")
            .query::<JobQuery>()
            .gives_page::<Job>("A page of jobs, without their answers."),
        Operation::new(Get, "/v1/jobs/{job}", JOBS, "retrieveJob", "A job, with its answer if it is there")
            .gives::<Job>("The job.")
            .of_one(),
        Operation::new(Delete, "/v1/jobs/{job}", JOBS, "deleteJob", "Cancel a job")
            .about("One that has ended stays as it is.")
            .gives::<Job>("The job as it is then.")
            .of_one(),
        Operation::new(Post, "/v1/jobs/{job}/cancel", JOBS, "cancelJob", "Cancel a job")
            .about("The same as `DELETE`.")
            .gives::<Job>("The job as it is then.")
            .of_one(),
        Operation::new(Get, "/v1/jobs/{job}/receipt", JOBS, "retrieveReceipt", "What the network signs for a job")
            .about("Only of a job that was paid for. Anyone who knows the network's key can check it offline.")
            .gives::<SignedReceipt>("The receipt.")
            .of_one(),
        Operation::new(Post, "/v1/jobs/{job}/feedback", JOBS, "createFeedback", "Say what you think of an answer")
            .about("One a job; a later one replaces it.")
            .takes::<Feedback>()
            .gives::<Feedback>("What is kept.")
            .of_one(),
        Operation::new(Get, "/v1/usage", USAGE, "usage", "What was used")
            .query::<UsageQuery>()
            .query_field("format", Type::String, "`json`, or `csv` for a table.")
            .gives::<UsageReport>("The report.")
            .or_text("text/csv"),
        Operation::new(Get, "/v1/credits", USAGE, "credits", "What may be spent").gives::<CreditBalance>("The balance."),
    ]
}

fn webhooks() -> Vec<Operation> {
    vec![
        Operation::new(
            Post,
            "/v1/webhooks",
            WEBHOOKS,
            "createWebhook",
            "Have events sent to an address",
        )
        .takes::<CreateWebhook>()
        .gives::<WebhookWithSecret>("The webhook, with its secret this once."),
        Operation::new(
            Get,
            "/v1/webhooks",
            WEBHOOKS,
            "listWebhooks",
            "The webhooks of this key's namespace",
        )
        .query::<PageQuery>()
        .gives_page::<Webhook>("A page of webhooks."),
        Operation::new(Get, "/v1/webhooks/{webhook}", WEBHOOKS, "retrieveWebhook", "A webhook")
            .gives::<Webhook>("The webhook.")
            .of_one(),
        Operation::new(
            Post,
            "/v1/webhooks/{webhook}",
            WEBHOOKS,
            "updateWebhook",
            "Change a webhook",
        )
        .about("What is named is changed, the rest stays.")
        .takes::<UpdateWebhook>()
        .gives::<Webhook>("The webhook as it is now.")
        .of_one(),
        Operation::new(
            Delete,
            "/v1/webhooks/{webhook}",
            WEBHOOKS,
            "deleteWebhook",
            "Delete a webhook with its log",
        )
        .gives::<WebhookDeleted>("It is gone.")
        .of_one(),
        Operation::new(
            Post,
            "/v1/webhooks/{webhook}/rotate",
            WEBHOOKS,
            "rotateWebhookSecret",
            "Give it a new secret",
        )
        .about("Until the overlap is over, messages are signed with the old one too.")
        .takes::<RotateWebhookSecret>()
        .gives::<WebhookWithSecret>("The webhook, with its new secret this once.")
        .of_one(),
        Operation::new(
            Post,
            "/v1/webhooks/{webhook}/test",
            WEBHOOKS,
            "testWebhook",
            "Send an event that has not happened",
        )
        .takes::<TestWebhook>()
        .gives::<WebhookDelivery>("The delivery.")
        .of_one(),
        Operation::new(
            Get,
            "/v1/webhooks/{webhook}/deliveries",
            WEBHOOKS,
            "listWebhookDeliveries",
            "What was and is to be sent",
        )
        .query::<PageQuery>()
        .gives_page::<WebhookDelivery>("A page of deliveries.")
        .of_one(),
        Operation::new(
            Get,
            "/v1/webhooks/{webhook}/deliveries/{delivery}",
            WEBHOOKS,
            "retrieveWebhookDelivery",
            "A delivery",
        )
        .gives::<WebhookDelivery>("The delivery.")
        .of_one(),
        Operation::new(
            Post,
            "/v1/webhooks/{webhook}/deliveries/{delivery}/replay",
            WEBHOOKS,
            "replayWebhookDelivery",
            "Send it again",
        )
        .gives::<WebhookDelivery>("The delivery as it is then.")
        .of_one(),
    ]
}

fn later() -> Vec<Operation> {
    [
        ("/v1/images/{*rest}", "images", "Pictures"),
        ("/v1/audio/{*rest}", "audio", "Sound"),
        ("/v1/moderations", "moderations", "Moderation"),
    ]
    .into_iter()
    .map(|(path, id, summary)| {
        Operation::new(Post, path, LATER, id, summary)
            .access(super::operation::Access::Anyone)
            .gives_nothing("501", "Always: no Runtime serves it.")
    })
    .collect()
}
