"""The local web page: the same functions as the command line, for people who would rather not type.

`server.build` makes the application, `jobs.Jobs` the queue behind it, `worker` answers in a process of its own, `guard`
keeps other machines and other pages out, `reports` shows runs.
"""
