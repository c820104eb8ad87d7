//! The arithmetic that all formats share: totals that contain each other, taken apart into pools that do not.

use super::{ExtractError, add_each, read::Node};
use crate::meter::{Meter, Usage};

/// Tokens by modality. Whatever has no rate of its own anywhere (documents, unspecified) is text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modalities {
    pub(super) text: u64,
    pub(super) image: u64,
    pub(super) video: u64,
    pub(super) audio: u64,
}

impl Modalities {
    pub(super) const fn sum(self) -> u64 {
        self.text + self.image + self.video + self.audio
    }

    /// What is left after taking up to `amount` in the order text, image, video, audio, and what was taken.
    ///
    /// A provider that does not say which modality was cached leaves this open. Text first keeps audio, the dearest
    /// fresh input everywhere, in the fresh pool, so that the charge is never too low.
    fn take(self, amount: u64) -> (Self, Self) {
        let mut left = amount;
        let mut one = |available: u64| {
            let taken = available.min(left);
            left -= taken;
            taken
        };
        let taken =
            Self { text: one(self.text), image: one(self.image), video: one(self.video), audio: one(self.audio) };
        let rest = Self {
            text: self.text - taken.text,
            image: self.image - taken.image,
            video: self.video - taken.video,
            audio: self.audio - taken.audio,
        };
        (rest, taken)
    }

    /// Member by member, where none falls below zero.
    fn minus(self, other: Self) -> Option<Self> {
        Some(Self {
            text: self.text.checked_sub(other.text)?,
            image: self.image.checked_sub(other.image)?,
            video: self.video.checked_sub(other.video)?,
            audio: self.audio.checked_sub(other.audio)?,
        })
    }
}

/// A prompt whose total includes what was read from a cache and what was written to one.
pub(super) struct Prompt<'a> {
    /// Where the counts are, for complaints.
    pub(super) at: Node<'a, 'a>,
    /// The whole prompt.
    pub(super) all: Modalities,
    /// Read from a cache: the key that says so, the count, and by modality where the provider says.
    pub(super) cached_key: &'a str,
    pub(super) cached: u64,
    pub(super) cached_by: Option<Modalities>,
    /// Written to a cache: the key that says so, and the count.
    pub(super) written_key: &'a str,
    pub(super) written: u64,
}

impl Prompt<'_> {
    /// Adds the prompt's pools.
    pub(super) fn add_to(&self, usage: &mut Usage) -> Result<(), ExtractError> {
        let whole = self.all.sum();
        let uncached = whole.checked_sub(self.cached).ok_or_else(|| {
            let detail = format!("{} cached tokens in a prompt of {whole}", self.cached);
            self.at.contradiction(self.cached_key, detail)
        })?;
        if self.written > uncached {
            let detail =
                format!("{} tokens written to a cache in a prompt with {uncached} uncached ones", self.written);
            return Err(self.at.contradiction(self.written_key, detail));
        }
        let (rest, cached) = match self.cached_by {
            None => self.all.take(self.cached),
            Some(by) => {
                let rest = self.all.minus(by).ok_or_else(|| {
                    let detail = "more cached tokens of one modality than the prompt has".to_owned();
                    self.at.contradiction(self.cached_key, detail)
                })?;
                (rest, by)
            }
        };
        let (fresh, written) = rest.take(self.written);
        add_each(
            usage,
            &[
                (Meter::Input, fresh.text),
                (Meter::InputImage, fresh.image),
                (Meter::InputVideo, fresh.video),
                (Meter::InputAudio, fresh.audio),
                // Cached images and videos have no rate of their own anywhere.
                (Meter::CacheRead, cached.text + cached.image + cached.video),
                (Meter::CacheReadAudio, cached.audio),
                (Meter::CacheWrite5m, written.sum()),
            ],
            self.at,
        )
    }
}

/// The rest of a total, an error at `key` where the parts are above it.
pub(super) fn rest(at: Node<'_, '_>, key: &str, total: u64, total_name: &str, parts: u64) -> Result<u64, ExtractError> {
    total
        .checked_sub(parts)
        .ok_or_else(|| at.contradiction(key, format!("parts of {parts} in `{total_name}` of {total}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_text_before_audio() {
        let all = Modalities { text: 10, image: 0, video: 0, audio: 90 };
        let (rest, taken) = all.take(50);
        assert_eq!(taken, Modalities { text: 10, image: 0, video: 0, audio: 40 });
        assert_eq!(rest, Modalities { text: 0, image: 0, video: 0, audio: 50 });
        assert_eq!(rest.sum() + taken.sum(), all.sum());
    }
}
