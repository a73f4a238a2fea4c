"""How stages reach the host. pipeline.py is the entrance; docs/architecture.md draws one step through it.

The words of this package, as comments and names use them:

run       one sampling with its list of sigmas (run.py). A step of it takes one model call or several (call.py)
pass      one conditioning sent through the network; the host batches the passes of a call where it can
positive  the prompt's conditioning; its prediction is D_c, `cond`
baseline  what the positive is contrasted with, mostly the sampler's negative; its prediction is D_u, `uncond`
pair      cond and uncond of one call. A `Pair` stage makes both from two passes of the positive
weight    w in D_u + w (D_c - D_u), also `scale`. At weight 1 the result is D_c, and the host makes no negative pass
value     a stage's own number at a step, taken from its schedule
branch    a further negative during a run: one more pass (branches.py)
term      what is added to the combined result, from a further negative or from a weaker model
counts    a stage counts at a step if it does something there. A run is neutral if no stage counts at any step
settled   a sample has settled once a `Skip` stage finds that it no longer needs its negative
packed    a packed latent holds several latents, such as a video and its sound; rules see one of them at a time
say       log a sentence, once a run
"""
