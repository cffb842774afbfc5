"""Keeps each visit in MongoDB, through its official client, and answers with their number."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pymongo import MongoClient

visits = MongoClient(os.environ["MONGO_URL"], serverSelectionTimeoutMS=5000).get_default_database().visits


class Visits(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/visit":
            visits.insert_one({"at": self.date_time_string()})
        body = str(visits.count_documents({})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Visits).serve_forever()
