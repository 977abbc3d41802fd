//! Re-exports wasmtime's C API so that cargo can link it into one static library.
pub use wasmtime_c_api::*;
