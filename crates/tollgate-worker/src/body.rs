//! Bodies of requests: bounded in length and time, and UTF-8.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{Either, select};
use js_sys::{ArrayBuffer, Uint8Array};
use tollgate_core::api::{Code, Problem};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::{Delay, Request};

use crate::log::unexpected;

/// The longest body, in bytes: 1 MiB.
pub const MAX_BODY: usize = 1 << 20;

/// How long a client may take to send one: a mebibyte over 1 Mbit/s. Whoever sends a part and then nothing would otherwise hold its request for ever.
const TIME_TO_SEND: Duration = Duration::from_secs(10);

/// A body that is short enough. It stays outside of WebAssembly's memory until its text is asked for, so that one that is only
/// passed on is not copied.
pub struct Body(Option<ArrayBuffer>);

impl Body {
    /// Reads the body that a client sends, and not a byte more than is allowed, nor longer.
    ///
    /// # Errors
    /// It is encoded, too large, not there in time, or broke off.
    pub async fn receive(request: &mut Request) -> Result<Self, Problem> {
        if request.inner().body().is_none() {
            return Ok(Self(None));
        }
        check_encoding(request.headers().get("content-encoding").ok().flatten().as_deref())?;
        let reading = core::pin::pin!(Self::read(request));
        match select(reading, Delay::from(TIME_TO_SEND)).await {
            Either::Left((body, _)) => body,
            Either::Right(_) => Err(Problem::new(Code::RequestTimeout, "the body did not arrive within 10 seconds")),
        }
    }

    /// Reads the body of a request, and not a byte more than is allowed.
    ///
    /// # Errors
    /// It is too large, or broke off.
    pub async fn read(request: &mut Request) -> Result<Self, Problem> {
        if request.inner().body().is_none() {
            return Ok(Self(None));
        }
        let declared = request.headers().get("content-length").ok().flatten();
        let Some(declared) = declared.and_then(|length| length.parse::<u64>().ok()) else {
            return Self::read_until_too_large(request).await;
        };
        // The runtime reads no more than is declared, so what is declared can be trusted.
        check_length(usize::try_from(declared).unwrap_or(usize::MAX))?;
        let promise = request.inner().array_buffer().map_err(broke_off)?;
        let buffer: ArrayBuffer = JsFuture::from(promise).await.map_err(broke_off)?.unchecked_into();
        check_length(usize::try_from(buffer.byte_length()).unwrap_or(usize::MAX))?;
        Ok(Self(Some(buffer)))
    }

    async fn read_until_too_large(request: &mut Request) -> Result<Self, Problem> {
        let mut stream = request.stream().map_err(|error| broke_off(error.into()))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await.map_err(|error| broke_off(error.into()))? {
            check_length(bytes.len().saturating_add(chunk.len()))?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(Self(Some(Uint8Array::from(&*bytes).buffer())))
    }

    /// The body as a text; an absent one is empty.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<String, Problem> {
        self.0.as_ref().map_or_else(|| Ok(String::new()), |buffer| text(Uint8Array::new(buffer).to_vec()))
    }

    /// The body of another request that passes it on; none where it is absent.
    #[must_use]
    pub fn to_js(&self) -> Option<&JsValue> {
        self.0.as_ref().map(AsRef::as_ref)
    }

    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self(None)
    }

    /// A body of one's own.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(Some(Uint8Array::from(text.as_bytes()).buffer()))
    }
}

/// Nothing is decompressed: a kilobyte could become a gigabyte.
fn check_encoding(encoding: Option<&str>) -> Result<(), Problem> {
    match encoding.map(str::trim) {
        None | Some("") => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(_) => Err(Problem::new(Code::UnsupportedEncoding, "a body is sent as it is, without `Content-Encoding`")),
    }
}

fn check_length(length: usize) -> Result<(), Problem> {
    if length > MAX_BODY {
        return Err(Problem::new(Code::BodyTooLarge, "a body has at most 1048576 bytes"));
    }
    Ok(())
}

fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|_| Problem::new(Code::InvalidRequest, "the body is not UTF-8"))
}

fn broke_off(error: JsValue) -> Problem {
    // Mostly a client that hung up, which then reads no answer either.
    unexpected("reading a body", &worker::Error::from(error));
    Problem::new(Code::InvalidRequest, "the body broke off")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn nothing_is_decompressed() {
        for encoding in [None, Some(""), Some("identity"), Some(" Identity ")] {
            assert!(check_encoding(encoding).is_ok(), "{encoding:?}");
        }
        for encoding in ["gzip", "br", "identity, gzip", "x"] {
            assert_eq!(check_encoding(Some(encoding)).unwrap_err().code, Code::UnsupportedEncoding, "{encoding}");
        }
    }

    #[test]
    fn a_mebibyte_is_the_most() {
        assert!(check_length(1_048_576).is_ok());
        assert_eq!(check_length(1_048_577).unwrap_err().code, Code::BodyTooLarge);
    }

    #[test]
    fn what_is_no_utf8_is_refused() {
        assert_eq!(text("größe".as_bytes().to_vec()).unwrap(), "größe");
        for bytes in [&[0xff][..], &[0xc3], &[0xed, 0xa0, 0x80]] {
            assert_eq!(text(bytes.to_vec()).unwrap_err().code, Code::InvalidRequest);
        }
    }
}
