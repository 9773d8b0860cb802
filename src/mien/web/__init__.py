"""The local web page: the functions of the command line in a browser.

`server.build` makes the application, `jobs.Jobs` is the queue, `worker` analyses videos in a separate process, `guard`
refuses requests from other machines and other pages, `reports` shows benchmark runs.
"""
