"""Redis: what applications read, always rebuildable from Kafka or Delta.

Every key stands behind ``{namespace}hr:``. ``generation`` points at the generation ``g`` readers
see; a rebuild fills another one and moves the pointer. Of a generation:

    {g}:epoch            present while it lives; changes whenever ``active`` does
    {g}:complete         "1" once readers may trust it
    {g}:active           segment -> version that readers see
    {g}:floor            segment -> the last retired version; entries up to it are void
    {g}:user:{id}        _n, _at, "segment@version" -> "+<entered ms>" or "-"; gone users: _n only
    {g}:profile:{id}     traits (JSON), "m:<measure>" -> "<value>@<ms>"
    {g}:count            "segment@version" -> members; of a version not active yet: the difference
    {g}:members:{seg}    sorted set of users; :{version}:in and :out while a version is handed over
    {g}:offsets          partition -> next offset of memberships.v1
    {g}:beats, {g}:as_of partition -> instant up to which it is complete; the least of them
    {g}:marker:{n}       partitions that have passed marker n; {g}:activated -> the last done

A user is in a segment when the entry with the greatest version, above the floor and at most the
active one, is "+".
"""
