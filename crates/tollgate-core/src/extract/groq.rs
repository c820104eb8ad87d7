//! Groq Chat Completions: OpenAI's format, but a stream's last chunk has its usage in `x_groq.usage`. (In a whole
//! answer `x_groq.usage` is something else, hardware cache statistics, and `usage` is where OpenAI has it.)

use serde_json::Value;

use super::read::Node;
use super::{ExtractError, Extracted, openai_chat};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    openai_chat::whole(answer)
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    openai_chat::stream_with(root, events, |chunk, use_it| {
        let own = match chunk.object("x_groq")? {
            Some(own) => match own.object("usage")? {
                Some(usage) => Some(use_it(usage)?),
                None => None,
            },
            None => None,
        };
        let common = match chunk.object("usage")? {
            Some(usage) => Some(use_it(usage)?),
            None => None,
        };
        match (own, common) {
            (Some(own), Some(common)) if own != common => {
                let detail = "differs from the same chunk's `x_groq.usage`".to_owned();
                Err(chunk.contradiction("usage", detail))
            }
            (own, common) => Ok(own.or(common)),
        }
    })
}
