//! What nobody can guess.

use wasm_bindgen::prelude::wasm_bindgen;

/// An id that nothing else has: a UUID of 122 random bits.
#[must_use]
pub fn id() -> String {
    random_uuid()
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
}
