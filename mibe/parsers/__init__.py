"""Reading answers from raw model output: one small pure parser for each kind of answer.

`options` (multiple choice), `labels` (one label or a set of them), `spans` (entities marked in a sentence), `extracted`
(text copied from a context), `ranked` (diagnoses) and `plain` (summaries) hold one parser each, or two. Each is a
`mibe.task.Parser`: it sees the output and never the target, returns JSON data or None, and never raises on any text.
`outcome.read` turns a response into a prediction with its outcome. Import them from their own modules: a task loads the
parser it uses and no other.

Underneath, `text` takes away what surrounds an answer, `words` finds names whatever their spelling, `mentions` groups
them and hears negations, and `answers` decides which one a text gives.
"""
