"""The outbox of touches, the senders that carry them out, and the jobs that keep the service going."""
