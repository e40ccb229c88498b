//! Delivery status notifications: compose them (RFC 3464, RFC 6522).
