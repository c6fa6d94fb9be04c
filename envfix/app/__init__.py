"""The verbs, wired: detect → judge → decide → act. No stage prints, none reaches back.

One module a command; each imports only what its command needs, because people wait for the start.
"""
