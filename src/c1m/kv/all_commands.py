"""Importing this fills the table of commands."""

from c1m.kv import bits as bits
from c1m.kv import blocking as blocking
from c1m.kv import command_info as command_info
from c1m.kv import connection as connection
from c1m.kv import connection_client as connection_client
from c1m.kv import dump as dump
from c1m.kv import expiring as expiring
from c1m.kv import hashes as hashes
from c1m.kv import information as information
from c1m.kv import keys as keys
from c1m.kv import lists as lists
from c1m.kv import object_info as object_info
from c1m.kv import pubsub as pubsub
from c1m.kv import server as server
from c1m.kv import server_acl as server_acl
from c1m.kv import server_config as server_config
from c1m.kv import server_memory as server_memory
from c1m.kv import server_times as server_times
from c1m.kv import sets as sets
from c1m.kv import sorted_sets as sorted_sets
from c1m.kv import sorted_sets_combined as sorted_sets_combined
from c1m.kv import sorted_sets_pops as sorted_sets_pops
from c1m.kv import sorted_sets_ranges as sorted_sets_ranges
from c1m.kv import sorting as sorting
from c1m.kv import strings as strings
from c1m.kv import transactions as transactions
