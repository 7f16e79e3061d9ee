"""What every connection of the port has to keep to, whoever reads its requests.

How many there may be, of one address too; how long a head may take, a body, an answer that is not
taken, and silence. The lane's connections and the framework's are looked at by the same rule.
"""
