"""The short way of a predict call through the front, for services that call all day.

A framework makes of every request an object with everything that one might want to know of it; of a
predict call of usual form that was four fifths of what it cost the front. So a connection is here
first. While its requests are plain predict calls they go straight to the model's workers; with the
first one that is anything else the connection is the framework's, for good, with all that it has
sent: no request is ever seen by both. What a client gets is the same either way.
"""
