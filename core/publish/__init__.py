"""Results as tables and pages that others read, and as data sets that are published.

Whoever publishes uses four things of here:

- `publication.Publication`: what is published: results by just-prs's policy and by our own, the panel, what the
  catalogue has, and where to.
- `publication.review(wish)`: makes the data sets and looks at them, without publishing; an `audit.Audit`.
- `publication.publish(wish, clock=...)`: the same, then publishes: a `snapshot.Published` for each data set. Where a
  finding blocks, nothing is published, and PublicationRefused lists what was found.
- `hub.HubPlace`: the Hugging Face hub, where to publish there, too.

`sluiceway.tasks.publish.publish_snapshot` is `publish` as a task, with artifacts.
"""
