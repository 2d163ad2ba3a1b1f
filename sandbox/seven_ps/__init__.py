"""A stateful stand-in for the 7PS service: what is executed is what is read back, and no id is special.

It holds to the contract that the content system expects (version 2 of `POST /execute`, `GET /status/{id}`,
`GET /results/{id}`) and can be told to be slow, to refuse, to break off, to forget and to answer in other shapes.
"""
