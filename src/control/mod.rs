//! Status out: views, page, local API.
