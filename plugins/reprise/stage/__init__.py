"""One stage as one task: pull, a sandboxed container, commit, push; and what it need not do again."""
