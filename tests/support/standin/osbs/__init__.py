"""Stands in for osbs-client 2.8 where that is not installed.

It has the signatures, the exceptions, the requests and the odd behaviours that were seen in the real one: keywords that
it does not know are dropped silently, a status that is not there is a KeyError in an OsbsException, a run that was
deleted looks like one that failed, a POST is repeated and then ends as 409, the token is read once, and the limits must
be given. It does not wait as long as the real one.
"""
