from proxy.headers import for_client, for_upstream


def test_what_a_second_connection_line_names_stays_on_it() -> None:
    headers = [(b"connection", b"keep-alive"), (b"connection", b"x-private"), (b"x-private", b"1")]
    assert for_upstream(headers) == [(b"accept-encoding", b"identity")]
    assert for_client(headers) == []
