-- id: young_europe
-- name: Young in Europe
-- owner: brand
-- description: Between 18 and 29, in one of our European countries
-- tags: audience
SELECT user_id FROM profiles
WHERE country IN ('DE', 'FR', 'ES', 'IT', 'NL', 'PL', 'SE', 'NO') AND age BETWEEN 18 AND 29
