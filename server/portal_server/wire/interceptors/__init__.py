"""What happens to a call before and after a servicer's method, a module for each step.

admission   which threads run it, from which queue
reflection  the same for gRPC reflection
method      the steps of a call: auth, decoding, the servicer's method
auth        whose API key it has
errors      the status of an error
log         one line for each call
"""
