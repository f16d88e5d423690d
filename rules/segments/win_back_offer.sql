-- id: win_back_offer
-- name: Win-back offer
-- owner: crm
-- description: Lapsed and reachable, and not unhappy with us: those are called instead
-- tags: win-back, mail
SELECT user_id FROM segment('lapsed_customer')
INTERSECT
SELECT user_id FROM segment('reachable')
EXCEPT
SELECT user_id FROM segment('unhappy')
