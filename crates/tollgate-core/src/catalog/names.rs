//! The ways in which an exact id is written besides by itself: what providers put around it in resource names and answers. What is around
//! the id is taken off; the id is never changed, so that an unknown model stays unknown.

/// Looks up what a written name stands for, when no model has the name itself.
pub(super) fn find<T>(provider: &str, written: &str, look: impl Fn(&str) -> Option<T>) -> Option<T> {
    // `openai/gpt-4o`, as gateways and configuration files have it.
    if let Some(id) = written.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')) {
        return look(id);
    }
    match provider {
        "openai" => look(fine_tuned(written)?),
        // https://ai.google.dev/api/models: `models/{id}`.
        "google" => look(written.strip_prefix("models/")?),
        "bedrock" => look(in_arn(written)?),
        "vertex" => {
            let (publisher, id) = published(written)?;
            // Models of other publishers are listed as `publisher/id`.
            look(&format!("{publisher}/{id}"))
                .or_else(|| if FIRST_CLASS.contains(&publisher) { look(id) } else { None })
        }
        _ => None,
    }
}

/// Publishers whose models Vertex AI lists by their ids alone.
const FIRST_CLASS: [&str; 4] = ["google", "anthropic", "mistralai", "ai21"];

/// `ft:{base}:{organization}:{name}:{id}` is billed as `ft:{base}`: <https://platform.openai.com/docs/guides/fine-tuning>.
fn fine_tuned(written: &str) -> Option<&str> {
    let base = written.strip_prefix("ft:")?.split(':').next()?;
    written.get(.."ft:".len() + base.len())
}

/// `arn:aws:bedrock:{region}:{account}:foundation-model/{id}`, and `inference-profile/{id}`, whose id begins with a geography. What an
/// application inference profile or provisioned throughput stands for is not in its ARN; it needs an alias.
fn in_arn(written: &str) -> Option<&str> {
    let mut parts = written.strip_prefix("arn:aws:bedrock:")?.splitn(3, ':');
    let (_region, _account) = (parts.next()?, parts.next()?);
    let (kind, id) = parts.next()?.split_once('/')?;
    matches!(kind, "foundation-model" | "inference-profile").then_some(id)
}

/// `publishers/{publisher}/models/{id}`, alone or in a project's location; or `{publisher}/{id}`, as the OpenAI-compatible endpoint has it.
fn published(written: &str) -> Option<(&str, &str)> {
    let resource = match written.strip_prefix("projects/") {
        None => written,
        Some(rest) => {
            let (_project, rest) = rest.split_once("/locations/")?;
            rest.split_once('/')?.1
        }
    };
    let (publisher, id) = match resource.strip_prefix("publishers/") {
        Some(rest) => rest.split_once("/models/")?,
        None => resource.split_once('/')?,
    };
    (!publisher.contains('/') && !id.contains('/')).then_some((publisher, id))
}
